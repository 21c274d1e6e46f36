"""What is said of each recommended model below the list: reasons, evidence, warnings, and what the Hub says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import say, wait_with_range
from fmkit.report.recommend_table import price, score
from fmkit.units import format_bytes, format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.recommend import Pick, QuantisedVariant, RecommendResult
    from fmkit.speed.estimate import SpeedEstimate


def print_notes(result: RecommendResult, console: Console, *, explain: bool) -> None:
    """For the first pick what one must know; with `explain` for each pick everything behind its score."""
    for pick in result.picks if explain else result.picks[:1]:
        console.print()
        say(console, pick.model, style="bold")
        for line in _explained(pick, result) if explain else ():
            say(console, line, indent=2)
        for reason in pick.reasons:
            say(console, reason, indent=2)
        if pick.tied_with:
            say(console, f"can't be told apart from {', '.join(pick.tied_with)}", indent=2)
        for warning in pick.warnings:
            say(console, f"note: {warning}", indent=2)
        if not explain and pick.licence.conditions:
            say(console, f"licence {pick.licence.id}: {_sentence(pick.licence.conditions)}", indent=2)


def _explained(pick: Pick, result: RecommendResult) -> list[str]:
    parts = {name: getattr(pick.parts, name) for name in pick.parts.__struct_fields__}
    stated = ", ".join(f"{name} {'unknown' if value is None else f'{value:.2f}'}" for name, value in parts.items())
    lines = [f"score {score(pick)}: {stated} (quality counts half-way to the low end of its interval)"]
    lines += [
        f"{one.benchmark} ({one.variant or 'variant not stated'}): {one.score:g} {one.unit}, {one.reported_by}, {one.date}, "
        f"{one.source}"
        for one in pick.quality.evidence
    ]
    lines += [
        f"{one.benchmark}: {one.score:.1f} ({one.low:.1f} to {one.high:.1f}), estimated from {one.from_scores} other "
        f"score{'s' if one.from_scores > 1 else ''} (80 % interval: as wide as held-out scores of models with {one.basis} asked)"
        for one in pick.quality.estimated
    ]
    if pick.quality.missing:
        lines.append(f"no score on {', '.join(pick.quality.missing)}")
    if pick.task_units:
        lines.append(", ".join(_task_unit(pick, unit) for unit in pick.task_units))
    lines += _speed_and_cost(pick, result)
    facts = pick.licence
    state = "" if facts.verified else ", text not read"
    lines.append(f"licence {facts.id} ({facts.licence_class}{state}): {_sentence(facts.conditions)} [{facts.source}]")
    return lines


SPEED_OF_UNIT = {
    "texts_per_s": "texts_per_s", "pairs_per_s": "texts_per_s", "images_per_s": "images_per_s",
    "real_time_factor": "real_time_factor",
}  # fmt: skip
"""The figures of a speed, with their range, that a task's units are the medians of."""


def _task_unit(pick: Pick, unit: str) -> str:
    """A figure in the task's own unit; a speed with its range."""
    name, figure = unit.replace("_", " "), pick.task_units[unit]
    speed = getattr(pick.speed, SPEED_OF_UNIT[unit]) if pick.speed is not None and unit in SPEED_OF_UNIT else None
    return f"{name} {figure}" if speed is None else f"{name} {figure} ({speed.low:.3g} to {speed.high:.3g})"


def _wait(speed: SpeedEstimate, result: RecommendResult) -> str:
    """The wait for the first token, and after which prompt; of what writes nothing that for one pass."""
    if speed.ttft_s is None:
        return ""
    prompt = result.understood.get("prompt_tokens")
    if speed.decode_tokens_per_s is None:
        return f"one pass {wait_with_range(speed.ttft_s)}; "
    heard = speed.real_time_factor is not None
    after = f" after a prompt of {prompt:,} tokens" if isinstance(prompt, int) and not heard else ""
    return f"first token{after}: {wait_with_range(speed.ttft_s)}; "


def _speed_and_cost(pick: Pick, result: RecommendResult) -> list[str]:
    lines = []
    if pick.speed is not None:
        lines.append(f"speed: {_wait(pick.speed, result)}{pick.speed.reason}")
    if pick.cost is not None:
        dated = f", prices of {pick.cost.price_date}" if pick.cost.price_date else ""
        lines.append(f"cost: {price(pick)} USD per 1M tokens: {pick.cost.assumption}{dated}")
        if pick.cost.usd_per_month is not None:
            lines.append(f"cost per month: {pick.cost.usd_per_month:,.2f} USD")
        if pick.cost.break_even_utilisation is not None:
            share = format_percent(pick.cost.break_even_utilisation, digits=0)
            lines.append(f"break-even with the API at {share} utilisation")
    return lines


def _sentence(conditions: Sequence[str]) -> str:
    return "; ".join(condition.rstrip(".") for condition in conditions)


def print_found(result: RecommendResult, console: Console) -> None:
    """Why models that the catalog lacks are in the list, and what is not known of them."""
    found = [pick for pick in result.picks if pick.origin == "hub"]
    if not found:
        return
    console.print()
    say(console, "Found on the Hub, not ranked", style="bold")
    for pick in found:
        say(console, pick.model, indent=2)
        for text in (*pick.reasons, *(f"note: {warning}" for warning in pick.warnings)):
            say(console, text, indent=4)


def print_live(result: RecommendResult, console: Console, *, explain: bool) -> None:
    """What the Hub says today, a line for each pick; nothing where it was not asked."""
    asked = [pick for pick in result.picks if pick.live is not None]
    if not asked:
        return
    console.print()
    say(console, "On the Hub", style="bold")
    for pick in asked:
        say(console, f"{pick.model}: {_live_facts(pick)}", indent=2)
        for published in pick.live.evaluation_results if explain and pick.live is not None else ():
            task = "" if published.task is None else f" {published.task}"
            source = published.source or "no source named"
            figure = f"{published.dataset}{task} {published.value:g}"
            say(console, f"published there, not checked: {figure} ({source})", indent=4)
        for copy in pick.variants:
            say(console, _copy(copy), indent=4)


def _live_facts(pick: Pick) -> str:
    found = pick.live
    if found is None:
        return "not asked"
    counts = (
        (found.downloads, "downloads in 30 days"),
        (found.likes, "likes"),
        (found.trending, "trending"),
        (found.evaluations or None, "evaluations"),
    )
    facts = [f"{count:,} {noun}" for count, noun in counts if count is not None]
    facts += [f"licence tag {found.licence or 'none'}", "gated" if found.gated else "not gated"]
    facts += [f"changed {found.last_change}"] if found.last_change else []
    return f"{', '.join(facts)} (asked on {found.asked_on})"


def _copy(copy: QuantisedVariant) -> str:
    """A quantised copy in one line.

    >>> from fmkit.results.recommend import QuantisedVariant
    >>> _copy(QuantisedVariant(hub_id="a/b-GGUF", publisher="a", official=False, method="GGUF", label="Q4_K_M", bytes=2**30,
    ...     downloads=5, gated=False, last_change="2026-11-01"))
    'GGUF Q4_K_M: 1.00 GiB in a/b-GGUF, changed 2026-11-01'
    """
    label = f" {copy.label}" if copy.label != copy.method else ""
    facts = [f"{copy.method}{label}: {format_bytes(copy.bytes)} in {copy.hub_id}"]
    facts += ["the publisher's own"] if copy.official else []
    facts += ["gated"] if copy.gated else []
    facts += [f"changed {copy.last_change}"] if copy.last_change else []
    return ", ".join(facts)
