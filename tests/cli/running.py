"""Running fmkit as a shell does, and in this process where that is enough."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec
import pytest
import typer

from fmkit.cli.main import COMMANDS, main


def leaves() -> Iterator[list[str]]:
    """Every command that does something, by the words it is typed with."""
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            yield from ([name, each.name or ""] for each in command.registered_commands)
        else:
            yield [name]


LEAVES = list(leaves())


class Answer(msgspec.Struct, frozen=True):
    """What one command line gave."""

    code: int
    out: str
    err: str

    def prose(self) -> list[str]:
        """The lines that have to keep within the terminal: all but commands to copy, which are never broken."""
        return [line for line in self.out.splitlines() if not line.lstrip().startswith("next: ")]

    def json(self) -> Any:
        """The object on stdout."""
        return json.loads(self.out)


def fmkit(*arguments: str) -> Answer:
    """Run a command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "fmkit", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run a command line in this process."""
    code = main(arguments)
    captured = capsys.readouterr()
    return Answer(code, captured.out, captured.err)
