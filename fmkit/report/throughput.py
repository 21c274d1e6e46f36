"""How `fmkit vram --throughput` shows the swept batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import COLUMN_GAP, print_table, rate_range, rate_with_range, say
from fmkit.units import format_count, format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from fmkit.results.throughput import ThroughputResult, ThroughputRow
    from fmkit.speed.estimate import Range

ALWAYS_SHOWN = 3
"""Columns that are shown at any width; of the others the last are left out first."""


def print_throughput(result: ThroughputResult, console: Console) -> None:
    """Draw the sweep on the machine, then the best of each rented device."""
    left_out: list[str] = []
    say(console, _title(result), style="bold")
    left_out += _print_rows(result.rows, console, first="precision")
    if result.by_device:
        say(console, "One device of each kind that is rented out, its best batch, by tokens per dollar", style="bold")
        left_out += _print_rows(result.by_device, console, first="device")
    for line in result.summary:
        say(console, line, indent=2)
    if result.price_source is not None:
        say(console, result.price_source, indent=2)
    if left_out:
        say(console, f"no room for {', '.join(dict.fromkeys(left_out))}: a wider terminal, or --json", indent=2)


def _title(result: ThroughputResult) -> str:
    """What is counted: tokens that are written, at the context held."""
    held = f", each holding {format_tokens(result.rows[0].context_tokens)} tokens" if result.rows else ""
    return (
        f"Tokens written by all sequences together{held}: an estimate, median (low to high); prompts are not counted, "
        "nor the time to read them"
    )


def _print_rows(rows: Sequence[ThroughputRow], console: Console, *, first: str) -> list[str]:
    """The rows as a table that fits; the names of the columns that found no room come back."""
    if not rows:
        return []
    columns = {
        first: [_name(row, first) for row in rows],
        "sequences": [f"{row.sequences:,}" for row in rows],
        "tokens/s": [rate_with_range(row.tokens_per_s) for row in rows],
        "tokens per USD": [_or_dash(row.tokens_per_usd, _counts) for row in rows],
        "USD of electricity per 1M": [_or_dash(row.electricity_usd_per_1m_tokens, _price) for row in rows],
        "tokens/s each": [rate_range(row.tokens_per_s_each) for row in rows],
        "J per 1k tokens": [_or_dash(row.joules_per_1k_tokens, rate_range) for row in rows],
    }
    known = {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}
    shown, taken = list(known), 0
    for place, (name, cells) in enumerate(known.items()):
        taken += max(len(name), *map(len, cells)) + COLUMN_GAP
        if taken > console.width and place >= ALWAYS_SHOWN:
            shown = list(known)[:place]
            break
    table = zip(*(known[name] for name in shown), strict=True)
    print_table(console, shown, table, indent=2, right=[1])
    return [name for name in known if name not in shown]


def _name(row: ThroughputRow, first: str) -> str:
    return row.precision.upper() if first == "precision" else f"{row.device} {row.precision.upper()}"


def _or_dash(found: Range | None, words: Callable[[Range], str]) -> str:
    return "-" if found is None else words(found)


def _price(cost: Range) -> str:
    return " to ".join(f"{float(f'{end:.2g}'):g}" for end in (cost.low, cost.high))


def _counts(count: Range) -> str:
    return f"{format_count(float(f'{count.low:.2g}'))} to {format_count(float(f'{count.high:.2g}'))}"
