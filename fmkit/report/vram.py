"""What `fmkit vram` says: the verdict, memory by context and precision, where it goes, the inverse, what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.attention import print_attention
from fmkit.report.common import print_next, say
from fmkit.report.text import print_text
from fmkit.report.throughput import print_throughput
from fmkit.report.vram_devices import print_degrees
from fmkit.report.vram_facts import print_facts
from fmkit.report.vram_fit import print_fit
from fmkit.report.vram_parts import print_parts
from fmkit.report.vram_peaks import print_peaks
from fmkit.report.vram_speed import print_speeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.model.quality import QualityLoss
    from fmkit.results.vram import PrecisionLoss, VramResult


def print_vram(result: VramResult, console: Console, *, detail: bool = False) -> None:
    """Draw the whole answer on a rich console of any width."""
    say(console, result.verdict, style="bold")
    console.print()
    print_facts(result, console)
    if result.estimates:
        console.print()
        print_peaks(result, console)
        for estimate in result.estimates if detail else result.estimates[:1]:
            console.print()
            print_parts(estimate, result.model, console, detail=detail)
        print_speeds(result, console, detail=detail)
    if detail and result.text is not None:
        console.print()
        print_text(result.text, console)
    if detail and result.attention:
        console.print()
        print_attention(result.attention, console)
    if result.quality_loss:
        console.print()
        _print_quality(result.quality_loss, console, detail=detail)
    if result.throughput is not None:
        console.print()
        print_throughput(result.throughput, console)
    if result.degrees:
        console.print()
        print_degrees(result.degrees, console, detail=detail)
    if result.fit is not None:
        console.print()
        print_fit(result.fit, console)
    _print_notes(result, console, detail=detail)


def _print_quality(losses: Sequence[PrecisionLoss], console: Console, *, detail: bool) -> None:
    """What each narrower precision was measured to cost, a line for those that cost alike; with `detail` the sources."""
    say(console, "Measured loss of quality against 16 bit", style="bold")
    alike: dict[str, list[PrecisionLoss]] = {}
    for loss in losses:
        alike.setdefault(loss.summary, []).append(loss)
    for summary, found in alike.items():
        say(console, f"{', '.join(loss.precision.upper() for loss in found)}: {summary}", indent=2)
        if detail:
            for source in dict.fromkeys(_source_of(measured) for loss in found for measured in loss.measurements):
                say(console, f"source: {source}", indent=4)


def _source_of(measured: QualityLoss) -> str:
    return ", ".join(
        filter(None, (measured.source, measured.source_date, f"reported by {measured.reported_by}", measured.notes))
    )


def _refusals(result: VramResult) -> list[str]:
    """Why an engine loads some precisions not at all, where neither the verdict nor the first estimate says so."""
    precisions: dict[str, list[str]] = {}
    for found in result.estimates:
        if found.refused is not None and found.refused not in result.verdict:
            names = precisions.setdefault(found.refused, [])
            if found.precision.upper() not in names:
                names.append(found.precision.upper())
    return [f"{', '.join(names)}: {reason}" for reason, names in precisions.items()]


def _without_speed(result: VramResult) -> list[str]:
    """Why some precisions have no speed, where the first estimate, whose notes are shown with its parts, does not say so."""
    first, *others = (found.why_no_speed for found in result.estimates) if result.estimates else (None,)
    return list(dict.fromkeys(why for why in others if why is not None and why != first))


def _print_notes(result: VramResult, console: Console, *, detail: bool) -> None:
    console.print()
    unsaid = () if detail else _without_speed(result)
    for text in (*_refusals(result), *unsaid, *result.warnings):
        say(console, f"note: {text}")
    if detail and result.model.config_source:
        say(console, f"config.json: {result.model.config_confidence}, from {result.model.config_source}")
    print_next(result.next, console)
    say(console, f"fmkit {result.fmkit}, catalog of {result.catalog}", style="dim")
