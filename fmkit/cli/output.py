"""Where output goes: results to stdout, everything else to stderr, no colour codes into a pipe.

A result is rendered into a string first and written once: a reader that closes the pipe early, or a terminal that can't
show a character, is handled in one place.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from io import StringIO
from typing import TYPE_CHECKING, TypeVar

import msgspec
import typer

from fmkit.errors import FmkitError, OldCatalogWarning

if TYPE_CHECKING:
    from rich.console import Console

Result = TypeVar("Result", bound=msgspec.Struct)

MIN_COLUMNS = 40
UNKNOWN_TERMINAL_COLUMNS = 100
PIPE_COLUMNS = 10_000
"""In a pipe or file nothing is wrapped: a record stays on its line, for grep and its kin."""


OLD_DAYS = 182
"""A catalog older than half a year is said to be old: by then providers have changed models and prices."""


class OutputError(FmkitError):
    """Stdout takes no more: the disk is full, say. This can be told on stderr only."""


def emit(
    result: Result,
    render: Callable[[Result, Console], None],
    *,
    as_json: bool,
    as_text: Callable[[Result], str] | None = None,
) -> None:
    """Print a result on stdout: as one JSON object, as the CSV or Markdown that `as_text` makes of it, or as `render` draws it.

    Only what is drawn for people imports rich.
    """
    warn_of_age(getattr(result, "catalog", None))
    if as_json:
        write(json_text(result))
    elif as_text is not None:
        write(as_text(result))
    else:
        write(rendered(lambda console: render(result, console)))


def warn_of_age(catalog: str | None) -> None:
    """Say that the catalog behind an answer is old: what it lacks can't be seen in the answer."""
    age_days = 0
    with suppress(TypeError, ValueError):  # no catalog behind it, or one whose date `catalog check` refuses
        age_days = (today() - date.fromisoformat(catalog or "")).days
    if age_days > OLD_DAYS:
        message = (
            f"the catalog is of {catalog}, {round(age_days / 30.44)} months ago: models and prices since are not in it"
        )
        warnings.warn(OldCatalogWarning(message), stacklevel=2)


def today() -> date:
    """The day, for the age of the catalog."""
    return datetime.now(UTC).date()


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
    """Write a result to stdout; a closed pipe ends the program quietly, a full disk with a message."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()  # the reader has what it wanted
        raise typer.Exit(0) from None
    except OSError as error:
        discard_stdout()
        raise OutputError(f"can't write the answer: {error.strerror or error}", where="stdout") from error


def discard_stdout() -> None:
    """Send what is left for stdout nowhere: the interpreter complains when it can't flush it at exit."""
    with suppress(OSError, ValueError):  # a stdout without a file, or a closed one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str, *, quiet: bool = False) -> None:
    """Say something that is not the result, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the place that prints


def colour_wanted() -> bool:
    """Whether stdout shows colours: a terminal, and nobody said NO_COLOR (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """Width to print for: COLUMNS, else the terminal's; a file or pipe has none."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return PIPE_COLUMNS
    return max(MIN_COLUMNS, shutil.get_terminal_size((UNKNOWN_TERMINAL_COLUMNS, 24)).columns)
