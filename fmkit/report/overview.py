"""What `fmkit` says alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_table, rate_range, reach, say
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.overview import BestModel, OverviewResult


def print_overview(result: OverviewResult, console: Console) -> None:
    """Draw the machine and one model per task, each with the command that runs it."""
    say(console, f"{result.machine}, {format_bytes(result.usable_bytes)} usable for models", style="bold")
    console.print()
    print_table(
        console,
        ["task", "model", "precision", "memory", "tokens/s"],
        [_row(best) for best in result.models],
        right=[3, 4],
    )
    console.print()
    for best in result.models:
        say(console, f"{best.task}: {best.next if best.model is not None else best.reason}")
    say(console, f"catalog of {result.catalog}{reach(result.age)}", style="dim")
    say(console, "more: fmkit recommend TASK, fmkit vram MODEL, fmkit try MODEL, fmkit --help")


def _row(best: BestModel) -> list[str]:
    speed = best.decode_tokens_per_s
    return [
        best.task,
        best.model or "none fits",
        best.precision or "-",
        "-" if best.peak_bytes is None else format_bytes(best.peak_bytes),
        "-" if speed is None else rate_range(speed, "-"),
    ]
