"""Running fmkit as a shell does, and in this process where that is enough."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from fmkit.cli.main import main


class Answer(msgspec.Struct, frozen=True):
    """What one command line gave."""

    code: int
    out: str
    err: str

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
