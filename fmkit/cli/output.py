"""Where output goes: results to stdout, everything else to stderr, no colour codes into a pipe.

A result is rendered into a string first and written once: a reader that closes the pipe early, or a terminal that can't show a
character, is handled in one place.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, TypeVar

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console

Result = TypeVar("Result", bound=msgspec.Struct)

MIN_COLUMNS = 40
PIPE_COLUMNS = 100


def emit(result: Result, render: Callable[[Result, Console], None], *, as_json: bool) -> None:
    """Print a result on stdout: as one JSON object, or as `render` draws it for people (then rich is imported)."""
    if as_json:
        write(json_text(result))
        return
    write(rendered(lambda console: render(result, console)))


def json_text(result: object) -> str:
    """The JSON of a result, indented: the same result gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n"


def rendered(draw: Callable[[Console], None]) -> str:
    """What `draw` prints on a console as wide as the terminal, with colours only if stdout shows them."""
    from rich.console import Console  # not at the top: `--json` must not pay for it

    colour = colour_wanted()
    buffer = StringIO()
    console = Console(
        file=buffer,
        width=columns(),
        force_terminal=colour,
        color_system="auto" if colour else None,
        highlight=False,
        emoji=False,
    )
    draw(console)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def write(text: str) -> None:
    """Write a result to stdout; a closed pipe ends the program quietly."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted. Point stdout elsewhere, or the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def note(text: str, *, quiet: bool = False) -> None:
    """Say something that is not the result, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the place that prints


def colour_wanted() -> bool:
    """Whether stdout shows colours: a terminal, and nobody said NO_COLOR (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """Width to print for: COLUMNS, else the terminal's, else 100 for a file or pipe."""
    return max(MIN_COLUMNS, shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns)
