"""From candidates to an order: who passes, with what score, and who can't be told apart.

The score is the weighted mean of parts that are each 0 to 1. A part that is not known (the speed of an API, the price of
one's own machine) is left out and the other weights grow in proportion; the reasons of a pick say so. Quality counts half-way
between its estimate and the low end of its interval: what one vendor's number says counts for less than what many say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.constraints import Exclusion, api_speed_exclusion, choose_precision, fact_exclusions
from fmkit.selection.cost import (
    TokenCost,
    api_cost,
    api_usd_per_1m,
    cheapest_hourly,
    cheapest_rival,
    hosted_cost,
)
from fmkit.selection.facts import Candidate
from fmkit.selection.licences import CLASS_SCORE
from fmkit.selection.pool import Pool
from fmkit.selection.quality import Judgement
from fmkit.selection.request import Load, Request, load_of, weights_of
from fmkit.selection.sized import Sized, request_s

if TYPE_CHECKING:
    from collections.abc import Sequence

TIE_EPSILON = 0.01
"""Scores closer than this are a tie: a hundredth is less than any of the parts is known to."""
READING_TOKENS_PER_S = 20.0
"""An answer that arrives at this rate gets half of the latency part: about three times as fast as people read."""
READING_START_S = 1.0
INPUT_ONLY_S = 0.1
"""The same for models that only read: a tenth of a second per input feels immediate."""
HALF_SCORE_USD_PER_1M = 1.0
"""A price of one dollar per million tokens gets half of the cost part."""
NO_QUALITY = Judgement(value=None, low=None, high=None, used=(), missing=())


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a score, each 0 to 1, higher better; None where unknown."""

    quality: float | None
    latency: float | None
    memory: float | None
    licence: float | None
    cost: float | None

    def items(self) -> tuple[tuple[str, float | None], ...]:
        """Name and value of each part."""
        return tuple((name, getattr(self, name)) for name in self.__struct_fields__)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A model that passes every constraint, with what it is judged by. `score` is None where it is not ranked."""

    candidate: Candidate
    sized: Sized | None
    load: Load
    request_s: float | None
    quality: Judgement
    cost: TokenCost | None
    parts: Parts
    score: float | None
    score_low: float | None
    score_high: float | None
    reasons: tuple[str, ...]

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

    The excluded are sorted by constraint, near misses first.
    """

    ranked: tuple[Standing, ...]
    unscored: tuple[Standing, ...]
    excluded: tuple[Exclusion, ...]

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
    ranked = [standing for standing in standings if standing.score is not None]
    unscored = [standing for standing in standings if standing.score is None]
    return Selection(
        ranked=tuple(sorted(ranked, key=lambda s: (-(s.score or 0.0), -(s.quality.value or 0.0), s.id))),
        unscored=tuple(sorted(unscored, key=lambda s: _by_domain(s, pool))),
        excluded=tuple(sorted(excluded, key=_near_misses_first)),
    )


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
    """The quality that counts in the score: half-way between the estimate and the low end of its interval.

    >>> cautious_quality(Judgement(value=0.9, low=0.7, high=1.0, used=(), missing=()))
    0.8
    """
    return None if judged.value is None or judged.low is None else round((judged.value + judged.low) / 2, 4)


def tied_with(standing: Standing, others: Sequence[Standing]) -> tuple[str, ...]:
    """The others that the evidence can't tell apart: scores within a hundredth, or one's interval inside the other's."""
    return tuple(other.id for other in others if other.id != standing.id and _tied(standing, other))


def _tied(one: Standing, other: Standing) -> bool:
    if one.score is None or other.score is None:
        return False
    if abs(one.score - other.score) < TIE_EPSILON:
        return True
    low, high, other_low, other_high = one.score_low, one.score_high, other.score_low, other.score_high
    if low is None or high is None or other_low is None or other_high is None:
        return False
    return (low <= other_low and other_high <= high) or (other_low <= low and high <= other_high)


def _standing(
    candidate: Candidate, sized: Sized | None, reasons: tuple[str, ...], request: Request, pool: Pool
) -> Standing:
    load = load_of(request, pool.task, candidate)
    seconds = None if sized is None else request_s(sized, load)
    judged = pool.qualities.get(candidate.id, NO_QUALITY)
    cost = _cost(candidate, sized, load, judged, request, pool)
    parts = Parts(
        quality=cautious_quality(judged),
        latency=_latency_part(seconds, sized, load),
        memory=_memory_part(sized, request),
        licence=min(CLASS_SCORE[x.licence_class] for x in pool.bound_licences[candidate.id].licences),
        cost=_cost_part(cost),
    )
    score, low, high, unknown = _score(parts, judged, request, pool)
    if score is not None and unknown:
        reasons = (*reasons, f"not known and left out of the score: {', '.join(unknown)}")
    return Standing(
        candidate=candidate,
        sized=sized,
        load=load,
        request_s=seconds,
        quality=judged,
        cost=cost,
        parts=parts,
        score=score,
        score_low=low,
        score_high=high,
        reasons=reasons,
    )


def _score(
    parts: Parts, judged: Judgement, request: Request, pool: Pool
) -> tuple[float | None, float | None, float | None, tuple[str, ...]]:
    """The score, its bounds from those of the quality, and the parts left out. None without a quality to rank by."""
    if parts.quality is None or judged.low is None or judged.high is None or pool.task.unranked is not None:
        return None, None, None, ()
    weights = {part: weight for part, weight in weights_of(request, pool.task).items() if weight > 0}
    known = {name: value for name, value in parts.items() if value is not None and name in weights}
    total = sum(weights[name] for name in known)
    unknown = tuple(name for name, value in parts.items() if value is None and name in weights)
    if total <= 0:
        return None, None, None, unknown
    score = sum(weights[name] * value for name, value in known.items()) / total
    share = weights.get("quality", 0.0) / total
    low = score - share * (parts.quality - judged.low)
    high = score + share * (judged.high - parts.quality)
    return round(score, 4), round(low, 4), round(high, 4), unknown


def _latency_part(seconds: float | None, sized: Sized | None, load: Load) -> float | None:
    """1 / (1 + t / t_half): one half for an answer read at `READING_TOKENS_PER_S` after `READING_START_S`."""
    if seconds is None or sized is None or sized.speed is None:
        return None
    decodes = sized.speed.decode_tokens_per_s is not None
    half_s = READING_START_S + load.output_tokens / READING_TOKENS_PER_S if decodes else INPUT_ONLY_S
    return round(1 / (1 + seconds / half_s), 4)


def _memory_part(sized: Sized | None, request: Request) -> float | None:
    """The share of the budget that stays free at the peak; None without a budget."""
    if sized is None or not sized.memory.budget_bytes:
        return None
    return round(max(1 - sized.memory.peak_bytes / (sized.memory.budget_bytes * request.memory_share), 0.0), 4)


def _cost_part(cost: TokenCost | None) -> float | None:
    """1 / (1 + price / 1 USD per million tokens)."""
    if cost is None or cost.usd_per_1m_tokens is None:
        return None
    return round(1 / (1 + cost.usd_per_1m_tokens / HALF_SCORE_USD_PER_1M), 4)


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
        requests_per_day=request.requests_per_day,
        rival=cheapest_rival(judged, offers),
    )


def _near_misses_first(exclusion: Exclusion) -> tuple[str, float, str]:
    far = float("inf")
    return exclusion.constraint, far if exclusion.distance is None else exclusion.distance, exclusion.model


def _by_domain(standing: Standing, pool: Pool) -> tuple[bool, int, int, str]:
    """Order without scores: trained for the task's domain first, then by training tokens, then by size, then by name."""
    candidate = standing.candidate
    stranger = pool.task.domain is not None and candidate.domain != pool.task.domain
    return stranger, -(candidate.training_tokens or 0), -(candidate.params or 0), candidate.id
