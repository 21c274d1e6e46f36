"""The speed that `fmkit vram` expects, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import rate_range, say
from fmkit.units import format_seconds, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from fmkit.results.vram import VramResult
    from fmkit.speed.estimate import Range, SpeedEstimate

MOST_SHOWN = 5


def print_speeds(result: VramResult, console: Console, *, detail: bool) -> None:
    """The speed expected at the first context, once per precision; nothing where none is predicted."""
    first = result.estimates[0]
    shown = [
        (found.precision, found.speed)
        for found in result.estimates
        if found.speed is not None
        and (found.context_tokens, found.sequences) == (first.context_tokens, first.sequences)
        and found.fits is not False
        and found.valid
    ]
    if not shown:
        return
    console.print()
    say(console, f"Speed at {format_tokens(first.context_tokens)} tokens, an estimate", style="bold")
    for precision, speed in shown[:MOST_SHOWN]:
        facts = [*_rates(speed), *(_costs(speed) if detail else ())]
        say(console, f"{precision.upper()}: {', '.join(facts) or 'not predicted'}", indent=2)
    say(console, f"{shown[0][1].basis}: {shown[0][1].reason}", indent=2)


def _rates(speed: SpeedEstimate) -> Iterator[str]:
    """Decoding and the wait before it; of a model that writes nothing, one pass and what it takes in per second."""
    decodes = speed.decode_tokens_per_s is not None
    if speed.decode_tokens_per_s is not None:
        yield f"{rate_range(speed.decode_tokens_per_s)} tokens/s"
    if speed.ttft_s is not None:
        yield f"first token after {_seconds(speed.ttft_s)}" if decodes else f"one pass takes {_seconds(speed.ttft_s)}"
    if speed.real_time_factor is not None:
        factor = speed.real_time_factor
        yield f"{factor.low:.2g} to {factor.high:.2g} s of work per second of sound"
    if speed.texts_per_s is not None:
        yield f"{rate_range(speed.texts_per_s)} texts/s"
    if not decodes and speed.images_per_s is not None:
        yield f"takes in {rate_range(speed.images_per_s)} images/s"
    elif not decodes and speed.prefill_tokens_per_s is not None:
        yield f"reads {rate_range(speed.prefill_tokens_per_s)} tokens/s"


def _costs(speed: SpeedEstimate) -> Iterator[str]:
    """Energy, and the first load from disk."""
    if speed.energy_j_per_1k_tokens is not None:
        yield f"{rate_range(speed.energy_j_per_1k_tokens)} J per 1k tokens"
    if speed.load is not None:
        yield f"first load {_seconds(speed.load.seconds)} ({speed.load.basis}: {speed.load.reason})"


def _seconds(wait: Range) -> str:
    return f"{format_seconds(wait.low)} to {format_seconds(wait.high)}"
