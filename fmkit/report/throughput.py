"""How `fmkit vram --throughput` shows the swept batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import NARROW_COLUMNS, print_table, rate_range, rate_with_range, say
from fmkit.units import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.throughput import ThroughputResult, ThroughputRow
    from fmkit.speed.estimate import Range


def print_throughput(result: ThroughputResult, console: Console) -> None:
    """Draw the sweep on the machine, then the best of each rented device."""
    say(console, "Tokens of all sequences together, an estimate; prompts are not counted", style="bold")
    _print_rows(result.rows, console, first="precision")
    if result.by_device:
        say(console, "The best of one device each, by tokens per dollar", style="bold")
        _print_rows(result.by_device, console, first="device")
    for line in result.summary:
        say(console, line, indent=2)
    if result.price_source is not None:
        say(console, result.price_source, indent=2)


def _print_rows(rows: Sequence[ThroughputRow], console: Console, *, first: str) -> None:
    narrow = console.width < NARROW_COLUMNS
    electricity = any(row.electricity_usd_per_1m_tokens is not None for row in rows)
    header = [first, "sequences", "tokens/s", "each", "tokens per USD", "J per 1k"]
    table = []
    for row in rows:
        name = row.precision.upper() if first == "precision" else f"{row.device} {row.precision.upper()}"
        cells = [
            name,
            f"{row.sequences:,}",
            rate_with_range(row.tokens_per_s),
            rate_range(row.tokens_per_s_each),
            "-" if row.tokens_per_usd is None else _counts(row.tokens_per_usd),
            "-" if row.joules_per_1k_tokens is None else rate_range(row.joules_per_1k_tokens),
        ]
        if electricity:
            cost = row.electricity_usd_per_1m_tokens
            cells.append("-" if cost is None else f"{cost.low:.3g} to {cost.high:.3g}")
        table.append(cells)
    if electricity:
        header.append("USD of electricity per 1M")
    if narrow:
        header, table = [*header[:3], header[4]], [[*cells[:3], cells[4]] for cells in table]
    if table:
        print_table(console, header, table, indent=2, right=[1])


def _counts(count: Range) -> str:
    return f"{format_count(float(f'{count.low:.2g}'))} to {format_count(float(f'{count.high:.2g}'))}"
