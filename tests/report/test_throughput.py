"""The swept batch as text: what is counted, and no figure cut at any width."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from fmkit.report.throughput import print_throughput
from fmkit.results.throughput import ThroughputResult, ThroughputRow
from fmkit.speed.estimate import Range

RATE = "1,200 (750 to 2,100)"


def row(device: str, *, electricity: bool) -> ThroughputRow:
    return ThroughputRow(
        device=device, precision="int4", sequences=128, context_tokens=4096, tokens_per_s=Range(low=750, median=1200, high=2100),
        tokens_per_s_each=Range(low=5.9, median=9.4, high=16), basis="class", usd_per_hour=2.0,
        tokens_per_usd=Range(low=980_000, median=2e6, high=2.7e6), joules_per_1k_tokens=Range(low=96, median=200, high=500),
        electricity_usd_per_1m_tokens=Range(low=0.00796, median=0.02, high=0.0416) if electricity else None,
    )  # fmt: skip


def lines(width: int, *, electricity: bool = True) -> list[str]:
    found = row("a-card", electricity=electricity)
    result = ThroughputResult(
        rows=(found,), by_device=(found,), summary=("most on a-card",), electricity_usd_per_kwh=None, price_source=None
    )
    buffer = StringIO()
    print_throughput(result, Console(file=buffer, width=width, color_system=None, highlight=False))
    return [" ".join(found.split()) for found in buffer.getvalue().splitlines()]


def test_it_says_what_is_counted_and_at_which_context() -> None:
    shown = " ".join(lines(200))
    assert "Tokens written by all sequences together, each holding 4k tokens" in shown
    assert "prompts are not counted, nor the time to read them" in shown


def test_a_wide_terminal_shows_every_figure_with_its_unit() -> None:
    shown = lines(200)
    assert shown[1] == (
        "precision sequences tokens/s tokens per USD USD of electricity per 1M tokens/s each J per 1k tokens"
    )
    assert shown[2] == f"INT4 128 {RATE} 980,000 to 2.7M 0.008 to 0.042 5.9 to 16 96 to 500"
    assert not any(found.startswith("no room") for found in shown)


@pytest.mark.parametrize("width", [60, 76, 80, 100, 120])
def test_no_figure_is_broken_and_what_found_no_room_is_named(width: int) -> None:
    shown = lines(width)
    assert sum(RATE in found for found in shown) == 2
    assert "J per 1k tokens" in " ".join(shown)
    assert (sum("96 to 500" in found for found in shown) == 2) != any(found.startswith("no room") for found in shown)


def test_a_column_that_nothing_is_known_of_is_left_out_and_not_missed() -> None:
    assert "electricity" not in " ".join(lines(80, electricity=False))
