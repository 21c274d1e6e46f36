"""Where output goes, how wide it is, and when it is coloured."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fmkit.cli.output import colour_wanted, columns, note, rendered

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


def test_notes_go_to_stderr_and_can_be_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    note("loading")
    note("secret", quiet=True)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "loading\n")
