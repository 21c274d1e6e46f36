"""What a part of the benchmark found: a table, the figures held against their aims, and everything as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

LIBRARIES = ("torch", "transformers", "accelerate", "bitsandbytes", "gguf")


def library_versions() -> dict[str, str]:
    """Of Python and of the libraries that the figures depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Aim(msgspec.Struct, frozen=True):
    """One figure beside what it should be; `met` is None where nothing was asked of it."""

    quantity: str
    aim: str
    found: str
    met: bool | None = None


class Table(msgspec.Struct, frozen=True):
    """Text in columns, with a title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one part, with the day it was made and what it was made with. `cases` are the raw figures."""

    name: str
    about: str
    aims: tuple[Aim, ...]
    tables: tuple[Table, ...] = ()
    cases: tuple[dict[str, Any], ...] = ()
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    versions: dict[str, str] = msgspec.field(default_factory=library_versions)
    took_s: float = 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0, 3.0, 4.0], 0.9)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def text_table(table: Table) -> str:
    """The table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (table.columns, *table.rows)) for place in range(len(table.columns))]
    lines = []
    for row in (table.columns, *table.rows):
        cells = [cell.ljust(width) if place == 0 else cell.rjust(width)
                 for place, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return "\n".join((table.title, *lines))


def markdown_table(table: Table) -> str:
    """The table as Markdown, with its title above."""
    lines = [f"**{table.title}**", "", _row(table.columns), _row(["---"] + ["---:"] * (len(table.columns) - 1))]
    return "\n".join((*lines, *(_row(row) for row in table.rows)))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def aims_table(proofs: Sequence[Proof]) -> Table:
    """Every figure of the proofs beside its aim."""
    words = {True: "met", False: "MISSED", None: ""}
    return Table(
        "What it shows",
        ("quantity", "aim", "found", ""),
        tuple((aim.quantity, aim.aim, aim.found, words[aim.met]) for proof in proofs for aim in proof.aims),
    )
