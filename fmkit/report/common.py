"""What reports share: plain text on a console, tables of plain text, CSV and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NARROW_COLUMNS = 76
"""Below this a table leaves out what a reader can do without."""


def say(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """Print plain text, wrapped and indented; nothing in it is taken for markup."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))


def print_table(
    console: Console,
    header: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Iterable[int] = (),
    indent: int = 0,
) -> None:
    """Print a table of plain text without frames; columns whose number is in `right` are flush right and never broken.

    A header of empty names is left out.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    flush_right = set(right)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(header))
    narrow = console.width < NARROW_COLUMNS
    for number, name in enumerate(header):
        table.add_column(
            Text(name),
            justify="right" if number in flush_right else "left",
            no_wrap=number in flush_right or (number == 0 and not narrow),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(Padding(table, (0, 0, 0, indent)))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""CSV with a header; None is an empty field.

    >>> csv_text(["model", "bytes"], [["gpt2", 1], ["x", None]])
    'model,bytes\ngpt2,1\nx,\n'
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return buffer.getvalue()


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A Markdown table.

    >>> print(markdown_table(["a", "b"], [["1", "x|y"]]), end="")
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [list(header), ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
