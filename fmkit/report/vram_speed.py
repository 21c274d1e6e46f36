"""The speed that `fmkit vram` expects, in words and as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import markdown_table, rate_with_range, say, wait_with_range
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from fmkit.results.vram import VramResult
    from fmkit.speed.estimate import SpeedEstimate

MOST_SHOWN = 5


def print_speeds(result: VramResult, console: Console, *, detail: bool) -> None:
    """The speed expected at the first context, once per precision; nothing where none is predicted.

    What the first rests on stands below all of them; others say where they rest on something else.
    """
    shown = _shown(result)
    if not shown:
        return
    console.print()
    say(console, _title(result), style="bold")
    first = shown[0][1]
    for precision, speed in shown:
        facts = [*_rates(speed), *(_costs(speed) if detail else ())]
        other = f"; {rests_on(speed)}" if rests_on(speed) != rests_on(first) else ""
        say(console, f"{precision.upper()}: {', '.join(facts) or 'not predicted'}{other}", indent=2)
    say(console, f"{rests_on(first)}: {first.reason}", indent=2)


def speeds_markdown(result: VramResult) -> str:
    """The same as a table, each precision with what its figures rest on; empty where none is predicted."""
    rows = [
        [name.upper(), ", ".join(_rates(speed)), f"{rests_on(speed)}: {speed.reason}"] for name, speed in _shown(result)
    ]
    return f"{_title(result)}\n\n{markdown_table(['precision', 'speed', 'rests on'], rows)}" if rows else ""


def rests_on(speed: SpeedEstimate) -> str:
    """The basis of decoding, and that of the first token where it is another."""
    prefill = speed.prefill_basis
    if speed.decode_basis is None or prefill is None or prefill.basis == speed.decode_basis.basis:
        return speed.basis
    return f"{speed.basis}, first token {prefill.basis}"


def _title(result: VramResult) -> str:
    return f"Speed at {format_tokens(result.estimates[0].context_tokens)} tokens, an estimate: median (low to high)"


def _shown(result: VramResult) -> list[tuple[str, SpeedEstimate]]:
    """The precisions with a speed at the first context and number of sequences, of what fits."""
    if not result.estimates:
        return []
    first = result.estimates[0]
    return [
        (found.precision, found.speed)
        for found in result.estimates
        if found.speed is not None
        and (found.context_tokens, found.sequences) == (first.context_tokens, first.sequences)
        and found.fits is not False
        and found.valid
    ][:MOST_SHOWN]


def _rates(speed: SpeedEstimate) -> Iterator[str]:
    """Decoding and the wait before it; of a model that writes nothing, one pass and what it takes in per second."""
    decodes = speed.decode_tokens_per_s is not None
    if speed.decode_tokens_per_s is not None:
        yield f"{rate_with_range(speed.decode_tokens_per_s)} tokens/s"
    if speed.ttft_s is not None:
        yield (
            f"first token after {wait_with_range(speed.ttft_s)}"
            if decodes
            else f"one pass takes {wait_with_range(speed.ttft_s)}"
        )
    if speed.real_time_factor is not None:
        factor = speed.real_time_factor
        yield f"{factor.median:.2g} ({factor.low:.2g} to {factor.high:.2g}) s of work per second of sound"
    if speed.texts_per_s is not None:
        yield f"{rate_with_range(speed.texts_per_s)} texts/s"
    if not decodes and speed.images_per_s is not None:
        yield f"takes in {rate_with_range(speed.images_per_s)} images/s"
    elif not decodes and speed.prefill_tokens_per_s is not None:
        yield f"reads {rate_with_range(speed.prefill_tokens_per_s)} tokens/s"


def _costs(speed: SpeedEstimate) -> Iterator[str]:
    """Energy, and the first load from disk."""
    if speed.energy_j_per_1k_tokens is not None:
        yield f"{rate_with_range(speed.energy_j_per_1k_tokens)} J per 1k tokens"
    if speed.load is not None:
        yield f"first load {wait_with_range(speed.load.seconds)} ({speed.load.basis}: {speed.load.reason})"
