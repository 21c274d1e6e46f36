"""What the answer says beside the list: the verdict, other views of the same models, and why a model is not on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import ModelNotFoundError
from fmkit.selection.cautions import WEAK_QUALITY
from fmkit.selection.constraints import fact_exclusions
from fmkit.selection.ranking import BELOW_KNOWN_SPEEDS, Selection
from fmkit.selection.request import context_need
from fmkit.selection.scoring import weights_that_count
from fmkit.selection.sized import on_each
from fmkit.selection.standing import Standing, assess
from fmkit.units import format_rate, format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fmkit.selection.pool import Pool
    from fmkit.selection.request import Request

SMALL_GAIN = 0.02


def verdict(selection: Selection, request: Request, pool: Pool) -> str:
    """The answer in one sentence."""
    task = pool.task.id
    if selection.unranked is not None and selection.unscored:
        count = len(selection.unscored)
        return f"{count} candidate{'s' if count > 1 else ''} for {task}, not ranked: {selection.unranked}"
    winner = selection.winner
    if winner is None:
        return f"No model for {task} passes the constraints; {_main_obstacle(selection)}"
    sized = winner.sized
    if sized is None:
        provider = winner.candidate.api.provider if winner.candidate.api is not None else "its provider"
        local = next((standing for standing in selection.ranked if standing.sized is not None), None)
        tail = f"; on {pool.machine.name} the best is {local.id}" if local is not None else ""
        return f"For {task}: {winner.id} ({provider} API){tail}{_weakness(winner)}."
    need = format_tokens(context_need(request, pool.task))
    return (
        f"For {task} on {pool.machine.name}: {winner.id} at {sized.precision}, "
        f"{on_each(sized.memory.per_device_bytes, sized.memory)} at its peak with {need} tokens{_rate(winner)}{_weakness(winner)}."
    )


def _weakness(winner: Standing) -> str:
    """What must be said of a first place among weak models."""
    if winner.quality.value is None or winner.quality.value >= WEAK_QUALITY:
        return ""
    return (
        f"; its quality {winner.quality.value:.2f} is near the worst of the catalog for this task: better ones don't pass, "
        "and unscored ones may be better"
    )


def _rate(standing: Standing) -> str:
    """Its speed in the unit of what it does: sound heard, tokens written, images or texts taken in."""
    speed = None if standing.sized is None else standing.sized.speed
    if speed is None:
        return ""
    if speed.real_time_factor is not None:
        factor = speed.real_time_factor
        return f", {factor.low:.2g} to {factor.high:.2g} s of work per s of sound"
    rates = (
        (speed.decode_tokens_per_s, "tokens/s"),
        (speed.images_per_s, "images/s"),
        (speed.texts_per_s, "texts/s"),
    )
    known = ((rate, unit) for rate, unit in rates if rate is not None)
    return next((f", {format_rate(rate.low)} to {format_rate(rate.high)} {unit}" for rate, unit in known), "")


def _main_obstacle(selection: Selection) -> str:
    counts: dict[str, int] = {}
    for exclusion in selection.excluded:
        if exclusion.constraint not in {"task", "kind", "tuning"}:
            counts[exclusion.constraint] = counts.get(exclusion.constraint, 0) + 1
    if not counts:
        return "the catalog has none."
    constraint, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{constraint} excludes the most ({count})."


def cheapest(standings: Iterable[Standing]) -> str | None:
    """The model with the lowest price per token among those with a price."""
    return _least(standings, lambda s: None if s.cost is None else s.cost.usd_per_1m_tokens)


def fastest(standings: Iterable[Standing]) -> str | None:
    """The model that answers one request soonest among those with a known speed."""
    return _least(standings, lambda s: s.request_s)


def best(standings: Iterable[Standing]) -> str | None:
    """The model with the highest quality among those that were tried on the task."""
    return _least(standings, lambda s: None if s.quality.value is None or not s.quality.used else -s.quality.value)


def smallest(standings: Iterable[Standing]) -> str | None:
    """The model with the lowest peak memory among those that run here."""
    return _least(standings, lambda s: s.peak_bytes)


def _least(standings: Iterable[Standing], measure: Callable[[Standing], float | None]) -> str | None:
    measured = [(value, s.id) for s in standings if (value := measure(s)) is not None]
    return min(measured)[1] if measured else None


def pareto(standings: Iterable[Standing]) -> tuple[str, ...]:
    """Models that no other beats in quality, time per request and memory at once; only models with all three known."""
    points = [
        (-s.quality.value, s.request_s, s.peak_bytes, s.id)
        for s in standings
        if s.quality.value is not None and s.request_s is not None and s.peak_bytes is not None
    ]
    return tuple(
        point[3]
        for point in sorted(points)
        if not any(
            all(a <= b for a, b in zip(other[:3], point[:3], strict=True)) and other[:3] != point[:3]
            for other in points
        )
    )


def why_not(model: str, selection: Selection, request: Request, pool: Pool) -> tuple[str, ...]:
    """Why `model` is not the first: every constraint it fails, or its rank and the parts it loses on."""
    candidate = pool.by_id.get(model)
    if candidate is None:
        raise ModelNotFoundError(f"{model} is not in the catalog", where="--why-not")
    failed = list(fact_exclusions(candidate, request, pool))
    if not failed:
        found = assess(candidate, request, pool)
        failed = [] if isinstance(found, Standing) else found
    if failed:
        return tuple(f"{model} is excluded by {e.constraint}: {e.reason}{_missed(e.missed_by)}" for e in failed)
    return _behind(model, selection, request, pool)


def _missed(missed_by: str | None) -> str:
    return f" (missed by {missed_by})" if missed_by else ""


def _behind(model: str, selection: Selection, request: Request, pool: Pool) -> tuple[str, ...]:
    standing = next(s for s in selection.standings if s.id == model)
    if selection.unranked is not None:
        place = [s.id for s in selection.unscored].index(model) + 1
        return (f"{model} is candidate {place} of {len(selection.unscored)}, unranked: {selection.unranked}",)
    winner = selection.winner
    if standing.score is None or winner is None or winner.score is None:
        if standing.parts.quality is not None:
            return (f"{model} passes every constraint, but {BELOW_KNOWN_SPEEDS}",)
        wanted = ", ".join(standing.quality.missing) or "none is named"
        return (
            f"{model} passes every constraint but has no comparable score for {pool.task.id} (looked for: {wanted})",
        )
    rank = [s.id for s in selection.ranked].index(model) + 1
    if rank == 1:
        return (f"{model} is the first: score {standing.score:.2f}",)
    tied = "; they can't be told apart and share a rank" if winner.id in standing.tied else ""
    standing_at = f"{model} is number {rank} of {len(selection.ranked)}"
    lines = [f"{standing_at}: score {standing.score:.2f}, {winner.id} has {winner.score:.2f}{tied}"]
    weights = weights_that_count(request, pool)
    for name, mine, theirs in _differences(standing, winner):
        word = "loses" if mine < theirs else "gains"
        if name in weights:
            lines.append(f"{word} on {name}: {mine:.2f} against {theirs:.2f} (weight {weights[name]:.2f})")
    return tuple(lines)


def _differences(mine: Standing, theirs: Standing) -> list[tuple[str, float, float]]:
    """Parts in which two models differ by more than a trifle, the largest loss first; an unknown part as it counted."""
    ours, others = (dict(s.parts.items()) | dict(s.assumed) for s in (mine, theirs))
    rows = [
        (name, value, other)
        for name, value in ours.items()
        if value is not None and (other := others[name]) is not None and abs(value - other) >= SMALL_GAIN
    ]
    return sorted(rows, key=lambda row: row[1] - row[2])
