"""Where output goes, how wide it is, and when it is coloured."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fmkit.cli.output import PIPE_COLUMNS, colour_wanted, columns, note, rendered, write
from fmkit.errors import FmkitError
from fmkit.report.common import say

if TYPE_CHECKING:
    from rich.console import Console


def draw(console: Console) -> None:
    console.print("[green]fits[/green]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout says it is a terminal."""
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_colour() -> None:
    assert colour_wanted()
    assert "\x1b[32m" in rendered(draw)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_unless_it_asks_for_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert not colour_wanted()
    assert rendered(draw) == "fits\n"


def test_a_pipe_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's own wish does not reach a pipe
    assert rendered(draw) == "fits\n"


@pytest.mark.parametrize(("told", "expected"), [("60", 60), ("200", 200), ("10", 40)])
def test_width(monkeypatch: pytest.MonkeyPatch, told: str, expected: int) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert columns() == expected


def test_a_pipe_has_no_width_unless_it_is_told_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    assert columns() == PIPE_COLUMNS
    words = "word " * 100
    assert rendered(lambda console: say(console, words)) == f"{words.rstrip()}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert columns() < PIPE_COLUMNS


def test_a_disk_that_is_full_is_named_and_stdout_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(text: str) -> int:
        raise OSError(28, "No space left on device", text)

    monkeypatch.setattr(sys.stdout, "write", full)
    monkeypatch.setattr("fmkit.cli.output.discard_stdout", lambda: None)
    with pytest.raises(FmkitError, match="can't write the answer: No space left") as caught:
        write("answer")
    assert caught.value.where == "stdout"


def test_notes_go_to_stderr_and_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    note("loading")
    note("secret", quiet=True)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "loading\n")
