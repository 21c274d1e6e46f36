"""What `fmkit` says alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_table, printable, rate_range, reach, say
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.overview import BestModel, OverviewResult


def print_overview(result: OverviewResult, console: Console) -> None:
    """Draw the machine and one model per task, each with the command that runs it."""
    from rich.text import Text

    say(console, f"{result.machine}, {format_bytes(result.usable_bytes)} usable for models", style="bold")
    console.print()
    print_table(
        console,
        ["task", "model", "prec", "memory", "speed"],
        [_row(best) for best in result.models],
        right=[3],
    )
    if any(best.real_time_factor is not None for best in result.models):
        say(console, "RTF: real-time factor, seconds of work per second of sound")
    console.print()
    for best in result.models:
        if best.model is None:
            say(console, f"{best.task}: {best.reason}")
        else:
            console.print(Text(printable(f"{best.task}: {best.next}")), soft_wrap=True)
    say(console, f"catalog of {result.catalog}{reach(result.age)}", style="dim")
    say(console, "more: fmkit recommend TASK, fmkit vram MODEL, fmkit try MODEL, fmkit --help")


def _row(best: BestModel) -> list[str]:
    return [
        best.task,
        best.model or "none fits",
        best.precision or "-",
        "-" if best.peak_bytes is None else format_bytes(best.peak_bytes),
        _speed(best),
    ]


def _speed(best: BestModel) -> str:
    """In the unit of what the model does."""
    if best.real_time_factor is not None:
        factor = best.real_time_factor
        return f"RTF {factor.low:.2g}-{factor.high:.2g}"
    if best.decode_tokens_per_s is not None:
        return f"{rate_range(best.decode_tokens_per_s, '-')} tokens/s"
    return "-" if best.texts_per_s is None else f"{rate_range(best.texts_per_s, '-')} texts/s"
