"""The inverse that `fmkit vram --fit` answers: what fits at most, by precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import NARROW_COLUMNS, print_table, say
from fmkit.report.vram_devices import print_cuts
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.sizing.estimate import Fit, PrecisionFit


def print_fit(fit: Fit, console: Console) -> None:
    """Draw the most that fits, what stops it, and the device that would do."""
    say(console, f"What fits into {format_bytes(fit.budget_bytes)}", style="bold")
    narrow = console.width < NARROW_COLUMNS
    header = ["", "fits", "longest", "sequences", "smallest device"]
    rows = [_cells(found) for found in fit.precisions]
    if narrow:
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(console, header, rows, indent=2)
    if fit.best_precision is not None:
        stops = "the model's own limit" if fit.limited_by == "model" else "memory"
        say(console, f"best: {fit.best_precision.upper()}; a longer context is stopped by {stops}", indent=2)
    elif fit.cut is not None:
        say(console, f"nothing fits; the largest part is {fit.cut}", indent=2)
    print_cuts(fit, console)
    if narrow and fit.smallest_device is not None:
        say(console, f"smallest device that would do: {fit.smallest_device}", indent=2)


def _cells(found: PrecisionFit) -> list[str]:
    short = f"{format_bytes(found.short_bytes)} short" if found.short_bytes else "no"
    return [
        found.precision.upper(),
        "yes" if found.fits else short,
        "-" if found.max_context_tokens is None else format_tokens(found.max_context_tokens),
        "-" if found.max_sequences is None else f"{found.max_sequences:,}",
        found.smallest_device or "none",
    ]
