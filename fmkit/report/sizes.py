"""What `fmkit catalog sizes` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, of_catalog, print_records, say
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.sizes import SizeCell, SizeRow, SizesResult

COLUMNS = (
    "id", "name", "use", "from_params", "below_params", "models", "example", "params", "apis", "precision", "layout",
    "weights_bytes", "peak_bytes", "smallest_device", "fits",
)  # fmt: skip


def print_sizes(result: SizesResult, console: Console) -> None:
    """Draw a line of memory for each class, then what each is for and the smallest device that holds it."""
    names = [cell.precision.upper() for cell in next((row.cells for row in result.sizes if row.cells), ())]
    header = ["size", "example", *names, "models"]
    rows = [
        [
            row.name,
            row.example or ", ".join(row.apis),
            *([_bytes(cell) for cell in row.cells] or ["API only"] * len(names)),
            "-" if row.models is None else str(row.models),
        ]
        for row in result.sizes
    ]
    places = list(range(len(header)))
    print_records(console, header, rows, order=[0, *places[2:-1], 1, places[-1]], right=places[2:])
    for row in result.sizes:
        say(console, f"{row.name}: {row.use}", style="bold")
        if row.cells:
            say(console, f"smallest device: {_devices(row)}", indent=2)
    where = (
        ""
        if result.machine is None
        else f"; fits is for {result.machine}, {format_bytes(result.usable_bytes or 0)} usable"
    )
    say(
        console,
        f"Peak memory of the example with one sequence of {format_tokens(result.context_tokens)} tokens in {result.engine}{where}",
        style="dim",
    )
    say(console, of_catalog(result.catalog, result.age), style="dim")


def sizes_csv(result: SizesResult) -> str:
    """One line per class and precision; one for a class of closed models."""
    lines: list[list[object]] = []
    for row in result.sizes:
        start = [getattr(row, column) for column in COLUMNS[:8]]
        for cell in row.cells or (None,):
            cells = [None] * 6 if cell is None else [getattr(cell, column) for column in COLUMNS[9:]]
            lines.append([*start, " ".join(row.apis), *cells])
    return csv_text(COLUMNS, lines)


def _bytes(cell: SizeCell) -> str:
    return format_bytes(cell.peak_bytes) + {None: "", True: " fits", False: " no"}[cell.fits]


def _devices(row: SizeRow) -> str:
    return ", ".join(
        f"{cell.smallest_device or 'none of the catalog'} at {cell.precision.upper()}" for cell in row.cells
    )
