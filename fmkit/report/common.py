"""What reports share: plain text on a console, tables of plain text, CSV and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from fmkit.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fmkit.selection.facts import CatalogAge
    from fmkit.speed.estimate import Range

NARROW_COLUMNS = 76
"""Below this a table leaves out what a reader can do without."""

COLUMN_GAP = 2
SHORTEST_CELL = 12
"""A column that has to be cut to fewer characters is left out instead."""


def bytes_or_unknown(count: int | None) -> str:
    """Bytes for people, where they are known.

    >>> bytes_or_unknown(None), bytes_or_unknown(2**30)
    ('unknown', '1.00 GiB')
    """
    return "unknown" if count is None else format_bytes(count)


def rate_range(rate: Range, between: str = " to ") -> str:
    """A range of rates per second for people.

    >>> from fmkit.speed.estimate import Range
    >>> rate_range(Range(low=14.2, median=30, high=58.7)), rate_range(Range(low=14.2, median=30, high=58.7), "-")
    ('14 to 59', '14-59')
    """
    return f"{format_rate(rate.low)}{between}{format_rate(rate.high)}"


def rate_with_range(rate: Range) -> str:
    """A rate per second for people, with its range.

    >>> from fmkit.speed.estimate import Range
    >>> rate_with_range(Range(low=14.2, median=30, high=58.7))
    '30 (14 to 59)'
    """
    return f"{format_rate(rate.median)} ({rate_range(rate)})"


def wait_with_range(wait: Range) -> str:
    """A time for people, with its range.

    >>> from fmkit.speed.estimate import Range
    >>> wait_with_range(Range(low=0.2, median=0.3, high=1.4))
    '300 ms (200 ms to 1.4 s)'
    """
    return f"{format_seconds(wait.median)} ({format_seconds(wait.low)} to {format_seconds(wait.high)})"


def printable(text: str) -> str:
    r"""The text with control characters escaped: a file or the Hub must not drive the terminal.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def say(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """Print plain text, wrapped and indented; nothing in it is taken for markup."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(printable(text), style=style), (0, 0, 0, indent), expand=False))


def reach(age: CatalogAge) -> str:
    """How far the catalog reaches, behind its date; of models whose date is not known, how many they are.

    >>> from fmkit.selection.facts import CatalogAge
    >>> reach(CatalogAge(newest_api_model="2026-11", undated_api_models=7, newest_score="2026-11-02"))
    '; newest API model of 2026-11 (dated ones; 7 undated), score of 2026-11-02'
    """
    dates = (
        ("open model", age.newest_open_model, age.undated_open_models),
        ("API model", age.newest_api_model, age.undated_api_models),
        ("score", age.newest_score, 0),
    )
    known = [
        f"{name} of {date}{f' (dated ones; {undated} undated)' if undated else ''}"
        for name, date, undated in dates
        if date is not None
    ]
    return f"; newest {', '.join(known)}" if known else ""


def of_catalog(date: str, age: CatalogAge) -> str:
    """The line below an answer from the catalog: its day, and how far it reaches.

    >>> from fmkit.selection.facts import CatalogAge
    >>> of_catalog("2026-11-28", CatalogAge(newest_open_model="2026-09"))
    'catalog of 2026-11-28; newest open model of 2026-09'
    """
    return f"catalog of {date}{reach(age)}"


def print_next(commands: Iterable[str], console: Console, *, indent: int = 0) -> None:
    """Print what to type next, each command whole, however narrow the terminal: it must survive copying."""
    from rich.text import Text

    for command in commands:
        console.print(Text(" " * indent + printable(f"next: {command}")), soft_wrap=True)


def print_table(
    console: Console,
    header: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Iterable[int] = (),
    whole: Iterable[int] = (),
    indent: int = 0,
) -> None:
    """Print a table of plain text without frames; columns whose number is in `right` are flush right and, as those in `whole`, never broken.

    A header of empty names is left out.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    flush_right = set(right)
    unbroken = flush_right | set(whole)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(header))
    narrow = console.width < NARROW_COLUMNS
    for number, name in enumerate(header):
        table.add_column(
            Text(name),
            justify="right" if number in flush_right else "left",
            no_wrap=number in unbroken or (number == 0 and not narrow),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    console.print(Padding(table, (0, 0, 0, indent), expand=False))


def print_records(
    console: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    order: Sequence[int],
    right: Iterable[int] = (),
) -> list[str]:
    """Print one line per record at any width; the names of the columns that found no room come back.

    The first of `order` is always shown whole, the others as long as there is room, the last of them shortened if need
    be.
    """
    from rich.text import Text

    widths = [max(len(row[number]) for row in (header, *rows)) for number in range(len(header))]
    shown, room = _with_room(widths, order, console.width)
    cut = [[_shortened(row[number], room[number]) for number in shown] for row in (header, *rows)]
    if widths[order[0]] > console.width:
        for line in cut:
            console.print(Text(line[0]), soft_wrap=True)
    else:
        flush_right = set(right)
        print_table(
            console, cut[0], cut[1:], right=[place for place, number in enumerate(shown) if number in flush_right]
        )
    return [name for number, name in enumerate(header) if number not in shown]


def _with_room(widths: Sequence[int], order: Sequence[int], columns: int) -> tuple[list[int], dict[int, int]]:
    """The columns of a table that fit, in the order of the table, and the characters that each may take.

    >>> _with_room([10, 30, 5], [0, 2, 1], 40)
    ([0, 1, 2], {0: 10, 2: 5, 1: 21})
    >>> _with_room([10, 30, 5], [0, 2, 1], 20)
    ([0, 2], {0: 10, 2: 5})
    """
    room = {order[0]: widths[order[0]]}
    left = columns - widths[order[0]]
    for number in order[1:]:
        width = min(widths[number], left - COLUMN_GAP)
        if width < min(widths[number], SHORTEST_CELL):
            break
        room[number] = width
        left -= width + COLUMN_GAP
    return sorted(room), room


def _shortened(cell: str, most: int) -> str:
    """A cell cut to `most` characters, visibly.

    >>> _shortened("proprietary-anthropic", 12), _shortened("mit", 12)
    ('proprietar..', 'mit')
    """
    return cell if len(cell) <= most else f"{cell[: most - 2]}.."


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""CSV with a header; None is an empty field.

    >>> csv_text(["model", "bytes"], [["gpt2", 1], ["x", None]])
    'model,bytes\ngpt2,1\nx,\n'
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else _plain(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _plain(cell: object) -> object:
    return printable(cell) if isinstance(cell, str) else cell


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A Markdown table.

    >>> print(markdown_table(["a", "b"], [["1", "x|y"]]), end="")
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [
        list(header),
        ["---"] * len(header),
        *([printable(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
