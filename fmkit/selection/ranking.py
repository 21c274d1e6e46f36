"""From candidates to an order: who passes, with what score, and who can't be told apart.

Quality counts half-way between its value and the low end of its interval: what one vendor's number says counts for less than
what many say, and what is estimated from other benchmarks alone counts at the low end. A part that is not known counts as a stated low value, never as a pass; and where the machine is known, a model
whose speed there is not is listed below all whose speed is known and usable, without a rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fmkit.selection.constraints import Exclusion, fact_exclusions
from fmkit.selection.cost import (
    TokenCost,
    api_cost,
    api_usd_per_1m,
    cheapest_hourly,
    cheapest_rival,
    hosted_cost,
)
from fmkit.selection.facts import Candidate
from fmkit.selection.fitting import api_speed_exclusion, choose_precision
from fmkit.selection.licences import CLASS_SCORE
from fmkit.selection.pool import Pool
from fmkit.selection.quality import Judgement
from fmkit.selection.request import Load, Request, load_of
from fmkit.selection.scoring import (
    Parts,
    cost_part,
    latency_part,
    memory_part,
    score,
    unknown_values,
    weights_that_count,
)
from fmkit.selection.serving import serving_batch
from fmkit.selection.sized import Sized, request_s, speed_is_missing, writing_s

if TYPE_CHECKING:
    from collections.abc import Sequence

TIE_EPSILON = 0.02
"""Scores this close are level: two hundredths are less than any of the parts is known to."""
LEAST_OVERLAP = 0.5
"""Intervals overlap substantially where half of the shorter one lies in the other."""
LEAST_SCORED = 3
"""A ranking takes this many models with a comparable score: best and worst of two say nothing about the others."""
BELOW_KNOWN_SPEEDS = "its speed here is not known: listed below the models whose speed is, without a rank"
NO_QUALITY = Judgement(value=None, low=None, high=None, used=(), missing=())


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A model that passes every constraint, with what it is judged by.

    `score` is None where it is not ranked. `speed_unknown` says that the machine is known and the speed on it is not; `assumed`
    what unknown parts counted as; `tied` names those that share its rank.
    """

    candidate: Candidate
    sized: Sized | None
    load: Load
    request_s: float | None
    quality: Judgement
    cost: TokenCost | None
    parts: Parts
    speed_unknown: bool
    reasons: tuple[str, ...]
    score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    assumed: tuple[tuple[str, float], ...] = ()
    tied: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The catalog id."""
        return self.candidate.id

    @property
    def peak_bytes(self) -> int | None:
        """Peak memory; None at a provider."""
        return None if self.sized is None else self.sized.memory.peak_bytes


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody in order: the ranked, then those without a comparable score, and everybody else with the reason.

    `unranked` says why there is no ranking. The excluded are sorted by constraint, near misses first.
    """

    ranked: tuple[Standing, ...]
    unscored: tuple[Standing, ...]
    excluded: tuple[Exclusion, ...]
    unranked: str | None = None

    @property
    def standings(self) -> tuple[Standing, ...]:
        """All that pass, in the order in which they are proposed."""
        return self.ranked + self.unscored

    @property
    def winner(self) -> Standing | None:
        """The first of the ranked."""
        return self.ranked[0] if self.ranked else None


def select(request: Request, pool: Pool) -> Selection:
    """Apply the constraints, score what is left, and put it in order. The same input gives the same output."""
    standings: list[Standing] = []
    excluded: list[Exclusion] = []
    for candidate in sorted(pool.candidates, key=lambda c: c.id):
        found = assess(candidate, request, pool)
        if isinstance(found, Standing):
            standings.append(found)
        else:
            excluded.append(found[0])
    return order(standings, tuple(sorted(excluded, key=_near_misses_first)), request, pool)


def order(standings: Sequence[Standing], excluded: tuple[Exclusion, ...], request: Request, pool: Pool) -> Selection:
    """Models that pass, scored against each other: the ranked with their ties, then the others."""
    unranked = pool.task.unranked or _too_few(standings, pool)
    ranked: list[Standing] = []
    if unranked is None:
        weights, unknown_as = weights_that_count(request, pool), unknown_values(s.parts for s in standings)
        scored = [_scored(standing, weights, unknown_as) for standing in standings]
        known = [s for s in scored if s.score is not None and not s.speed_unknown]
        # with nobody whose speed is known there is nobody to be listed below
        ranked = known or [s for s in scored if s.score is not None]
    names = {standing.id for standing in ranked}
    others = [_unplaced(s, known_speeds=bool(ranked)) for s in standings if s.id not in names]
    return Selection(
        ranked=_with_ties(sorted(ranked, key=_best_first), request),
        unscored=tuple(sorted(others, key=lambda s: _by_domain(s, request, pool))),
        excluded=excluded,
        unranked=unranked,
    )


def _too_few(standings: Sequence[Standing], pool: Pool) -> str | None:
    """Why there is no ranking where too few of those that pass have a comparable score; None where nobody passes."""
    scored = sum(standing.parts.quality is not None for standing in standings)
    if not standings or scored >= LEAST_SCORED:
        return None
    return (
        f"{scored} of the {len(standings)} models that pass {'has' if scored == 1 else 'have'} a comparable score for "
        f"{pool.task.id}; a ranking takes {LEAST_SCORED}"
    )


def _scored(standing: Standing, weights: dict[str, float], unknown_as: dict[str, float]) -> Standing:
    found = score(standing.parts, standing.quality, weights, unknown_as)
    if found is None:
        return standing
    reasons = standing.reasons
    if found.assumed:
        stated = ", ".join(f"{name} (counted as {value:.2f})" for name, value in found.assumed)
        reasons = (
            *reasons,
            f"not known: {stated}; that is the lower quartile of the candidates' known values, 0.25 where none is known",
        )
    return replace(
        standing, score=found.value, score_low=found.low, score_high=found.high, assumed=found.assumed, reasons=reasons
    )


def _unplaced(standing: Standing, *, known_speeds: bool) -> Standing:
    if not standing.speed_unknown or not known_speeds:
        return standing
    return replace(standing, reasons=(*standing.reasons, BELOW_KNOWN_SPEEDS))


def _best_first(standing: Standing) -> tuple[float, bool, float, str]:
    """By score; of equal ones a model that was tried goes before one that is only estimated."""
    return -(standing.score or 0.0), not standing.quality.used, -(standing.quality.value or 0.0), standing.id


def _with_ties(ranked: list[Standing], request: Request) -> tuple[Standing, ...]:
    """The ranked in groups that share a rank: from the top, a model belongs to the group of the first one it is level with.

    Every member is compared with the first of its group, so that "tied" holds both ways and a long row of small steps is not
    one tie. Within a group models trained for the domain asked for come first.
    """
    groups: list[list[Standing]] = []
    for standing in ranked:
        if groups and level(groups[-1][0], standing):
            groups[-1].append(standing)
        else:
            groups.append([standing])
    placed: list[Standing] = []
    for group in groups:
        names = tuple(member.id for member in group)
        members = [replace(member, tied=tuple(n for n in names if n != member.id)) for member in group]
        if request.domain is not None:
            members.sort(key=lambda member: member.candidate.domain != request.domain)
        placed.extend(members)
    return tuple(placed)


def assess(
    candidate: Candidate, request: Request, pool: Pool, ignore: frozenset[str] = frozenset()
) -> Standing | list[Exclusion]:
    """A candidate's standing, or all constraints on facts it fails, or the one of size it fails.

    `ignore` names constraints that don't count.
    """
    failed = [e for e in fact_exclusions(candidate, request, pool) if e.constraint not in ignore]
    if failed:
        return failed
    if candidate.api is not None:
        too_slow = api_speed_exclusion(candidate, request, pool)
        if too_slow is not None and too_slow.constraint not in ignore:
            return [too_slow]
        return _standing(candidate, None, (), request, pool)
    chosen = choose_precision(candidate, request, pool, ignore)
    if isinstance(chosen, Exclusion):
        return [chosen]
    sized, reasons = chosen
    return _standing(candidate, sized, reasons, request, pool)


def cautious_quality(judged: Judgement) -> float | None:
    """The quality that counts in the score: half-way between the value and the low end of its interval.

    Of a model that was never tried on the task it is the low end itself: who was not tested must not win by that.

    >>> from fmkit.selection.facts import Score
    >>> tried = Score(benchmark="b", variant="", score=90, unit="%", source="", source_date="", reported_by="independent")
    >>> cautious_quality(Judgement(value=0.9, low=0.7, high=1.0, used=(tried,), missing=()))
    0.8
    >>> cautious_quality(Judgement(value=0.9, low=0.7, high=1.0, used=(), missing=("b",)))
    0.7
    """
    if judged.value is None or judged.low is None:
        return None
    return round((judged.value + judged.low) / 2, 4) if judged.used else judged.low


def tied_with(standing: Standing, others: Sequence[Standing]) -> tuple[str, ...]:
    """Those of `others` that share the model's rank (the rule is `level`'s); holds both ways."""
    return tuple(other.id for other in others if other.id in standing.tied)


def level(one: Standing, other: Standing) -> bool:
    """Whether the evidence can't tell two apart: scores within `TIE_EPSILON`, and half of the shorter interval in the other."""
    if one.score is None or other.score is None or abs(one.score - other.score) >= TIE_EPSILON:
        return False
    low, high, other_low, other_high = one.score_low, one.score_high, other.score_low, other.score_high
    if low is None or high is None or other_low is None or other_high is None:
        return False
    shared = min(high, other_high) - max(low, other_low)
    return shared >= LEAST_OVERLAP * min(high - low, other_high - other_low)


def _standing(
    candidate: Candidate, sized: Sized | None, reasons: tuple[str, ...], request: Request, pool: Pool
) -> Standing:
    load = load_of(request, pool.task, candidate)
    seconds = None if sized is None else request_s(sized, load)
    at_least_s = seconds if sized is None or seconds is not None else writing_s(sized, load)
    if at_least_s is not None and seconds is None:
        reasons = (*reasons, "the time to read the prompt is not known here: latency counts the writing alone")
    judged = pool.qualities.get(candidate.id, NO_QUALITY)
    lost = pool.points_lost(candidate, sized)
    judged = judged if lost is None else judged.lowered(lost)
    cost = _cost(candidate, sized, load, judged, request, pool)
    parts = Parts(
        quality=cautious_quality(judged),
        latency=latency_part(at_least_s, sized, load, request, pool),
        memory=memory_part(sized, request, pool),
        licence=min(CLASS_SCORE[x.licence_class] for x in pool.bound_licences[candidate.id].licences),
        cost=cost_part(cost),
    )
    return Standing(
        candidate=candidate,
        sized=sized,
        load=load,
        request_s=seconds,
        quality=judged,
        cost=cost,
        parts=parts,
        speed_unknown=sized is not None and speed_is_missing(sized, pool.machine),
        reasons=reasons,
    )


def _cost(
    candidate: Candidate, sized: Sized | None, load: Load, judged: Judgement, request: Request, pool: Pool
) -> TokenCost | None:
    if candidate.api is not None:
        return api_cost(candidate.api, load, request.requests_per_day)
    if sized is None:
        return None
    price = cheapest_hourly(pool.cloud_prices, pool.machine)
    if price is None:
        return None
    offers = []
    for other in pool.candidates:
        if other.api is None or other.api.status == "retired" or other.id not in pool.qualities:
            continue
        usd_per_1m = api_usd_per_1m(other.api, load_of(request, pool.task, other))
        if usd_per_1m is not None:
            offers.append((other, pool.qualities[other.id], usd_per_1m))
    return hosted_cost(
        sized.speed,
        load,
        price,
        pool.machine,
        sequences=request.sequences,
        batch=serving_batch(candidate.id, sized, load, request, pool),
        devices=sized.memory.devices_used,
        requests_per_day=request.requests_per_day,
        rival=cheapest_rival(judged, offers),
    )


def _near_misses_first(exclusion: Exclusion) -> tuple[str, float, str]:
    far = float("inf")
    return exclusion.constraint, far if exclusion.distance is None else exclusion.distance, exclusion.model


def _by_domain(standing: Standing, request: Request, pool: Pool) -> tuple[bool, bool, int, int, str]:
    """Order without scores: known speeds first, then trained for the domain, then by training tokens, size and name."""
    candidate = standing.candidate
    domain = request.domain or pool.task.domain
    stranger = domain is not None and candidate.domain != domain
    return standing.speed_unknown, stranger, -(candidate.training_tokens or 0), -(candidate.params or 0), candidate.id
