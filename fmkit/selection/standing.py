"""A model that passes every constraint, and what it is judged by: quality, latency, memory, licence and cost.

Quality counts half-way between its value and the low end of its interval: what one vendor's number says counts for less than
what many say, and what is estimated from other benchmarks alone counts at the low end.
"""

from __future__ import annotations

import msgspec

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
)
from fmkit.selection.serving import serving_batch
from fmkit.selection.sized import Sized, request_s, speed_is_missing, writing_s

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
