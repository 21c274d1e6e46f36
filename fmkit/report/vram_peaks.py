"""The peaks that `fmkit vram` shows: a table by length and precision, the same in CSV and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report import vram_speed
from fmkit.report.common import csv_text, markdown_table, print_table, say
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fmkit.results.vram import Estimate, VramResult

CSV_COLUMNS = (
    "engine", "engine_version", "precision", "layout", "context_tokens", "encoder_tokens", "sequences", "valid",
    "weights_bytes", "cache_bytes", "steady_bytes", "peak_bytes", "low_bytes", "high_bytes", "per_device_bytes",
    "budget_bytes", "fits",
)  # fmt: skip
MOST_COLUMNS = 5
"""More precisions than this are rows of the table, and no columns."""

LENGTH_NAMES = {"encoder": "input", "clip": "text"}
"""What the length is of, by kind of model; of others it is the context."""


def print_peaks(result: VramResult, console: Console) -> None:
    """One row per context and number of sequences, one column per precision; turned round for many precisions."""
    header, rows = _grid(result)
    first = result.estimates[0]
    say(console, f"Peak memory with {first.engine} {first.engine_version}", style="bold")
    print_table(console, header, [[label, *(_cell(found) for found in found_row)] for label, found_row in rows])


def csv_table(result: VramResult) -> str:
    """One line per estimate: figures in bytes, and the range of each speed in the unit of its name."""
    lines = (
        [*(getattr(found, column) for column in CSV_COLUMNS), *vram_speed.csv_cells(found.speed)]
        for found in result.estimates
    )
    return csv_text((*CSV_COLUMNS, *vram_speed.CSV_COLUMNS), lines)


def markdown_text(result: VramResult) -> str:
    """The verdict, the table of peaks, and that of speeds where they are predicted, in Markdown."""
    if not result.estimates:
        return f"{result.verdict}\n"
    header, rows = _grid(result)
    body = [[label, *(_cell(found).plain for found in found_row)] for label, found_row in rows]
    speeds = vram_speed.speeds_markdown(result)
    return f"{result.verdict}\n\n{markdown_table(header, body)}" + (f"\n{speeds}" if speeds else "")


def _grid(result: VramResult) -> tuple[list[str], list[tuple[str, list[Estimate | None]]]]:
    precisions = list(dict.fromkeys(found.precision for found in result.estimates))
    cases = list(dict.fromkeys((found.context_tokens, found.sequences) for found in result.estimates))
    several = len({sequences for _, sequences in cases}) > 1 or cases[0][1] > 1
    by_case = {(found.context_tokens, found.sequences, found.precision): found for found in result.estimates}
    rows: list[tuple[str, list[Estimate | None]]] = []
    for context_tokens, sequences in cases:
        label = f"{sequences} x {format_tokens(context_tokens)}" if several else format_tokens(context_tokens)
        rows.append((label, [by_case.get((context_tokens, sequences, precision)) for precision in precisions]))
    if len(precisions) > MOST_COLUMNS:
        turned = zip(precisions, zip(*(found for _, found in rows), strict=True), strict=True)
        return ["", *(label for label, _ in rows)], [(name.upper(), list(found)) for name, found in turned]
    return [LENGTH_NAMES.get(result.model.kind, "context"), *(name.upper() for name in precisions)], rows


def _cell(estimate: Estimate | None) -> Text:
    from rich.text import Text

    if estimate is None:
        return Text("-")
    cell = Text(format_bytes(estimate.peak_bytes))
    if not estimate.valid:
        return cell.append(" past limit", style="yellow")
    if estimate.fits is None:
        return cell
    return cell.append(" fits" if estimate.fits else " no", style="green" if estimate.fits else "red")
