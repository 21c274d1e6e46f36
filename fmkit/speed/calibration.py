"""Speed corrected by this machine's own trials: a factor on what the speed model says, for prompts and for decoding.

The factor starts at 1, with the uncertainty of the model's own range, and moves towards measured over predicted the more trials there
are. Trials of passes that take about as long count most: what slows a pass of a millisecond is not what slows one of a second.
"""

from __future__ import annotations

from collections import Counter
from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.shrinkage import Point, Prior, location, narrowed
from fmkit.sizing.trial_words import counted, named
from fmkit.speed.estimate import Calibration, FigureBasis, Range
from fmkit.speed.speech import real_time_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.speed.estimate import SpeedEstimate

TRIAL_DEVIATION = 0.2
"""Standard deviation of the logarithm of one trial's rate around what this machine's trials have in common: 80 % within a quarter, as
far as predictions from measurements on the same device lay from the truth."""

TENFOLD = log(10)
"""Passes of ten times the length count for exp(-1/2), those of a hundred times for exp(-2)."""

LEAST_WEIGHT = 0.3
"""Trials that together count for less say nothing here."""

TENTH_TO_NINETIETH = 2.563
"""Standard deviations between the 10th and the 90th percentile of a normal distribution."""


class RateTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One rate that a trial measured, per second, and what the model without any correction said; of weights in one layout."""

    id: str
    model: str
    decoding: bool
    measured_per_s: float
    predicted_per_s: float

    @property
    def log_ratio(self) -> float:
        """Logarithm of measured over predicted."""
        return log(self.measured_per_s / self.predicted_per_s)


class _Factor(msgspec.Struct, frozen=True):
    """Measured over predicted, the range around the corrected figure, and the trials it rests on."""

    value: float
    low: float
    high: float
    trials: tuple[RateTrial, ...]


def corrected(speed: SpeedEstimate, trials: Sequence[RateTrial], left_out: str = "") -> SpeedEstimate:
    """The estimate with the factors of the trials, which are of this machine, engine, layout and basis; as it is where they say too little."""
    step, wait = speed.decode_tokens_per_s, speed.ttft_s
    decode = None if step is None else _factor(step, [one for one in trials if one.decoding])
    prefill = None if wait is None else _factor(wait.inverse(), [one for one in trials if not one.decoding])
    if decode is None and prefill is None:
        return speed
    main = decode if step is not None else prefill
    used = {one.id: one for factor in (decode, prefill) if factor is not None for one in factor.trials}
    return msgspec.structs.replace(
        speed,
        ttft_s=None if wait is None else _scaled(wait.inverse(), prefill).inverse(),
        prefill_tokens_per_s=_scaled_or_none(speed.prefill_tokens_per_s, prefill),
        images_per_s=_scaled_or_none(speed.images_per_s, prefill),
        texts_per_s=_scaled_or_none(speed.texts_per_s, prefill),
        real_time_factor=_real_time(speed, prefill, decode),
        decode_tokens_per_s=_scaled_or_none(step, decode),
        throughput_tokens_per_s=_scaled_or_none(speed.throughput_tokens_per_s, decode),
        energy_j_per_1k_tokens=_energy(speed.energy_j_per_1k_tokens, decode),
        basis=speed.basis if main is None else "measured-here",
        prefill_basis=_basis(speed.prefill_basis, prefill),
        decode_basis=_basis(speed.decode_basis, decode),
        reason=_reason(speed.reason, decode, prefill, tuple(used.values()), left_out),
        calibration=Calibration(
            trials=tuple(used),
            models=len({one.model for one in used.values()}),
            prefill_factor=None if prefill is None else prefill.value,
            decode_factor=None if decode is None else decode.value,
            without=speed.basis,
        ),
    )


def _factor(rate: Range, trials: Sequence[RateTrial]) -> _Factor | None:
    """Measured over predicted at about this rate; workloads of one model count together as one trial."""
    weights = [_nearness(one.predicted_per_s, rate.median) for one in trials]
    workloads = Counter(one.model for one in trials)
    shared = [weight / workloads[one.model] for one, weight in zip(trials, weights, strict=True)]
    count = sum(shared)
    if count < LEAST_WEIGHT:
        return None
    points = [Point(0, one.log_ratio, weight) for one, weight in zip(trials, shared, strict=True)]
    prior = Prior(0.0, log(rate.high / rate.low) / TENTH_TO_NINETIETH)
    value = exp(location(points, prior, TRIAL_DEVIATION))
    near = [one for one, weight in zip(trials, weights, strict=True) if weight >= LEAST_WEIGHT / 2]
    ratios = [exp(one.log_ratio) / value for one in near]
    low, high = narrowed(rate.low / rate.median, rate.high / rate.median, ratios, count)
    return _Factor(round(value, 4), low, high, tuple(near or trials))


def _nearness(one_per_s: float, other_per_s: float) -> float:
    return exp(-((log(one_per_s / other_per_s) / TENFOLD) ** 2) / 2)


def _scaled(rate: Range, factor: _Factor | None) -> Range:
    if factor is None:
        return rate
    median = rate.median * factor.value
    return Range(low=median * factor.low, median=median, high=median * factor.high)


def _scaled_or_none(rate: Range | None, factor: _Factor | None) -> Range | None:
    return None if rate is None else _scaled(rate, factor)


def _real_time(speed: SpeedEstimate, prefill: _Factor | None, decode: _Factor | None) -> Range | None:
    """Seconds of work per second of sound with both factors."""
    wait, rate, together = speed.ttft_s, speed.decode_tokens_per_s, speed.throughput_tokens_per_s
    if speed.real_time_factor is None or wait is None or rate is None or together is None:
        return speed.real_time_factor
    sequences = round(together.median / rate.median)
    return real_time_range(_scaled(wait.inverse(), prefill).inverse(), _scaled(rate, decode), sequences)


def _basis(stated: FigureBasis | None, factor: _Factor | None) -> FigureBasis | None:
    """What a figure rests on once trials corrected it."""
    return stated if stated is None or factor is None else FigureBasis(basis="measured-here", points=len(factor.trials))


def _energy(energy: Range | None, factor: _Factor | None) -> Range | None:
    """Energy goes with the time that decoding takes."""
    return energy if energy is None or factor is None else energy.times(1 / factor.value)


def _reason(
    stated: str, decode: _Factor | None, prefill: _Factor | None, trials: Sequence[RateTrial], left_out: str
) -> str:
    models = len({one.model for one in trials})
    factors = [
        f"{name} {factor.value:.2f}"
        for name, factor in (("decoding", decode), ("reading", prefill))
        if factor is not None
    ]
    count = counted(len(trials), models)
    left = f"; {left_out}" if left_out else ""
    names = named([one.id for one in trials])
    return f"measured here: {count} ({names}) put a factor on the model's figure, {' and '.join(factors)}{left}; the model: {stated}"
