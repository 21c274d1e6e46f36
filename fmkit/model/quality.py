"""What smaller weights were measured to cost in quality: published differences, in words and as they were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec


class QualityLoss(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One benchmark of one model, quantised by `scheme` to `bits` bits a weight, against the same at 16 bit.

    `layout` is the catalog's layout that is this very scheme; empty where no engine has it.
    `difference` is quantised less 16 bit in `unit` (points of percent, or perplexity, where more is worse).
    """

    scheme: str
    bits: int
    layout: str = ""
    model: str
    benchmark: str
    variant: str = ""
    unit: str
    at_16_bit: float | None = None
    quantised: float | None = None
    difference: float
    source: str
    source_date: str | None = None
    reported_by: Literal["vendor", "other-vendor", "independent"]
    notes: str = ""


def loss_of(layout: str, losses: Iterable[QualityLoss]) -> tuple[QualityLoss, ...]:
    """The measurements of that very layout: other schemes of as many bits lose more, or less."""
    return tuple(loss for loss in losses if loss.layout == layout)


class PointsLost(msgspec.Struct, frozen=True, kw_only=True):
    """What quantising costs on benchmarks of right answers, in points of 100: the median and the middle 80 % of `measurements`.

    `own` says that they are of that very layout, not of others with as many bits.
    """

    median: float
    low: float
    high: float
    measurements: int
    own: bool


LEAST_LOSSES = 5
"""Fewer measurements of a layout have no percentiles: those of as many bits stand in."""


def points_lost(layout: str, bits: int, losses: Iterable[QualityLoss]) -> PointsLost | None:
    """The points that a layout was measured to lose; None where nothing of as many bits was measured often enough.

    >>> rows = [QualityLoss(scheme="Int4", bits=4, layout="gptq", model="m", benchmark="MMLU", unit="%", difference=-x,
    ...                     source="", reported_by="vendor") for x in (0.0, 0.5, 1.0, 1.5, 4.0)]
    >>> points_lost("awq", 4, rows)
    PointsLost(median=1.0, low=0.2, high=3.0, measurements=5, own=False)
    """
    rows = [loss for loss in losses if loss.unit == "%" and loss.bits == bits]
    own = loss_of(layout, rows)
    chosen = sorted(-loss.difference for loss in (own if len(own) >= LEAST_LOSSES else rows))
    if len(chosen) < LEAST_LOSSES:
        return None
    low, median, high = (round(_percentile(chosen, share), 2) for share in (0.1, 0.5, 0.9))
    return PointsLost(median=median, low=low, high=high, measurements=len(chosen), own=len(own) >= LEAST_LOSSES)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 2)
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (place - below)


def loss_in_words(layout: str, bits: int, losses: Sequence[QualityLoss]) -> str:
    """What the layout was measured to lose; else "unknown", with what others of as many bits lose on one benchmark.

    >>> gptq = QualityLoss(scheme="GPTQ Int4", bits=4, layout="gptq", model="Qwen/Qwen-7B-Chat", benchmark="MMLU", unit="%",
    ...                    difference=-0.7, source="", reported_by="vendor")
    >>> loss_in_words("gptq", 4, [gptq]), loss_in_words("awq", 3, [gptq])
    ('MMLU -0.7 points (by GPTQ Int4, on Qwen-7B-Chat)', 'unknown')
    >>> loss_in_words("awq", 4, [gptq])
    'unknown; other 4-bit methods: MMLU -0.7 points (by GPTQ Int4, on Qwen-7B-Chat)'
    """
    own = loss_of(layout, losses)
    if own:
        return in_words(own)
    others = [loss for loss in losses if loss.bits == bits and loss.benchmark == _KNOWN[0]]
    return f"unknown; other {bits}-bit methods: {in_words(others)}" if others else "unknown"


def in_words(losses: Sequence[QualityLoss]) -> str:
    """The measurements in a sentence: by benchmark the range over models, with the schemes they were quantised by.

    >>> loss = QualityLoss(scheme="GPTQ Int4", bits=4, model="Qwen/Qwen-7B-Chat", benchmark="MMLU", unit="%", difference=-0.7, source="", reported_by="vendor")
    >>> in_words([loss]), in_words([])
    ('MMLU -0.7 points (by GPTQ Int4, on Qwen-7B-Chat)', 'unknown')
    """
    if not losses:
        return "unknown"
    by_benchmark: dict[tuple[str, str], list[float]] = {}
    for loss in losses:
        by_benchmark.setdefault((loss.benchmark, loss.unit), []).append(loss.difference)
    widest = sorted(by_benchmark.items(), key=lambda item: (item[0][0] not in _KNOWN, -len(item[1]), item[0]))[:_SHOWN]
    ranges = [_range(*key, values) for key, values in widest]
    schemes, models = _several(loss.scheme for loss in losses), _several(_short(loss.model) for loss in losses)
    more = len(by_benchmark) - len(widest)
    rest = f" and {more} more benchmark{'s' if more > 1 else ''}" if more else ""
    return f"{', '.join(ranges)}{rest} (by {', '.join(schemes)}, on {_models(models)})"


_SHOWN = 3
_KNOWN = ("MMLU", "GSM8K", "HumanEval", "perplexity")
"""Benchmarks that are named first."""


def _range(benchmark: str, unit: str, values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    suffix = " points" if unit == "%" else ""
    digits = 1 if unit == "%" else 4
    if low == high:
        return f"{benchmark} {low:+.{digits}f}{suffix}"
    return f"{benchmark} {low:+.{digits}f} to {high:+.{digits}f}{suffix}"


def _several(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _short(model: str) -> str:
    return model.rpartition("/")[2]


def _models(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _SHOWN else f"{len(names)} models"
