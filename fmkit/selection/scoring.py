"""The score: the weighted mean of parts that are each 0 to 1, and what a part counts as where it is not known.

Being faster than anybody reads, or smaller than what is there, is worth nothing: latency and memory are full from a stated
point on, so that quality decides between models that are all quick and all fit. Who raises the weight of one of them asks
for more than enough of it: that part then has no such point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.request import raised_parts, weights_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.selection.cost import TokenCost
    from fmkit.selection.pool import Pool
    from fmkit.selection.quality import Judgement
    from fmkit.selection.request import Load, Request
    from fmkit.selection.sized import Sized

COMFORTABLE_TOKENS_PER_S = 10.0
"""An answer written at this rate has the whole latency part: twice as fast as people read (238 words a minute,
Brysbaert 2019, doi:10.1016/j.jml.2019.104047, at 1.3 tokens a word are 5 tokens/s). A preference, not a measurement."""
COMFORTABLE_START_S = 1.0
INPUT_ONLY_S = 0.1
"""The same for models that only read: a tenth of a second per input feels immediate."""
COMFORTABLE_HEADROOM = 0.1
"""With this share of the budget free at the peak a model fits comfortably: a bound of the memory estimate's own error."""
HALF_SCORE_USD_PER_1M = 1.0
"""A price of one dollar per million tokens gets half of the cost part."""
NOTHING_KNOWN = 0.25
"""What an unknown part counts as where no candidate's is known: the same for all, so it orders nobody."""


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


FIELDS: tuple[str, ...] = Parts.__struct_fields__


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A score with its bounds from those of the quality, and the parts that were assumed, as (name, what it counted as)."""

    value: float
    low: float
    high: float
    assumed: tuple[tuple[str, float], ...]


def score(parts: Parts, judged: Judgement, weights: dict[str, float], unknown_as: dict[str, float]) -> Score | None:
    """sum(weight * part) / sum(weights); an unknown part counts as `unknown_as` says. None without a quality."""
    if parts.quality is None or judged.low is None or judged.high is None:
        return None
    total = sum(weights.values())
    assumed = tuple((name, unknown_as[name]) for name, value in parts.items() if value is None and name in weights)
    counted = dict(parts.items()) | dict(assumed)
    value = sum(weight * (counted[name] or 0.0) for name, weight in weights.items()) / total
    share = weights.get("quality", 0.0) / total
    return Score(
        value=round(value, 4),
        low=round(value - share * (parts.quality - judged.low), 4),
        high=round(value + share * (judged.high - parts.quality), 4),
        assumed=assumed,
    )


def weights_that_count(request: Request, pool: Pool) -> dict[str, float]:
    """The weights above zero. The cost of one sequence on several cards says nothing about serving: it does not count."""
    weights = {part: weight for part, weight in weights_of(request, pool.task).items() if weight > 0}
    one_on_many = pool.machine.origin == "catalog" and pool.machine.count > 1 and request.sequences == 1
    if one_on_many and not request.api_only and len(weights) > 1:
        weights.pop("cost", None)
    return weights


def unknown_values(parts: Iterable[Parts]) -> dict[str, float]:
    """What each part counts as where it is not known: the 25th percentile of the candidates' known values.

    Unknown is not a pass: it counts as worse than three quarters of what is known. Not as the worst either, since nothing
    says so.

    >>> rows = [Parts(quality=None, latency=x, memory=None, licence=1.0, cost=None) for x in (0.2, 0.4, 0.6, 0.8, None)]
    >>> unknown_values(rows)["latency"], unknown_values(rows)["memory"]
    (0.35, 0.25)
    """
    rows = tuple(parts)
    return {name: _lower_quartile([v for row in rows if (v := getattr(row, name)) is not None]) for name in FIELDS}


def _lower_quartile(values: list[float]) -> float:
    """The 25th percentile, interpolated between neighbours."""
    if not values:
        return NOTHING_KNOWN
    ordered = sorted(values)
    place = (len(ordered) - 1) / 4
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (ordered[above] - ordered[below]) * (place - below), 4)


def latency_part(seconds: float | None, sized: Sized | None, load: Load, request: Request, pool: Pool) -> float | None:
    """min(1, comfortable time / time); where its weight was raised 1 / (1 + time / comfortable time).

    The comfortable time of an answer is `COMFORTABLE_START_S` + answer tokens / `COMFORTABLE_TOKENS_PER_S`, so that a task with
    long answers takes longer; thoughts nobody reads count as waiting. 400 tokens: 41 s.
    """
    if seconds is None or sized is None or sized.speed is None:
        return None
    decodes = sized.speed.decode_tokens_per_s is not None
    comfortable_s = COMFORTABLE_START_S + load.output_tokens / COMFORTABLE_TOKENS_PER_S if decodes else INPUT_ONLY_S
    if "latency" in raised_parts(request, pool.task):
        return round(1 / (1 + seconds / comfortable_s), 4)
    return round(min(comfortable_s / seconds, 1.0) if seconds > 0 else 1.0, 4)


def memory_part(sized: Sized | None, request: Request, pool: Pool) -> float | None:
    """min(1, free share of all devices' budgets / 0.1), each used one as full as the fullest; the share itself where its weight was raised."""
    budget = None if sized is None else sized.memory.device_budget_bytes
    if sized is None or not budget:
        return None
    used_bytes = sized.memory.per_device_bytes * sized.memory.devices_used
    free = max(1 - used_bytes / (budget * pool.machine.count * request.memory_share), 0.0)
    return round(free if "memory" in raised_parts(request, pool.task) else min(free / COMFORTABLE_HEADROOM, 1.0), 4)


def cost_part(cost: TokenCost | None) -> float | None:
    """1 / (1 + price / 1 USD per million tokens)."""
    if cost is None or cost.usd_per_1m_tokens is None:
        return None
    return round(1 / (1 + cost.usd_per_1m_tokens / HALF_SCORE_USD_PER_1M), 4)
