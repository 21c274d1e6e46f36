"""What a few measurements say beside what is known already: estimates that start from a prior and hardly move for one outlier.

Errors are taken to follow a Student distribution of four degrees of freedom: near its middle it is the normal one, and a value ten
deviations off counts for a twentieth. Weights are those of its expectation-maximisation (iteratively reweighted least squares).
"""

from __future__ import annotations

from math import exp, isclose, log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

FREEDOM = 4.0
ROUNDS = 25
PRIOR_TRIALS = 4.0
"""How many independent trials a stated range is worth: after as many it is half of the way to the range that was measured."""

ONE_IN = 5
"""One measurement in so many may lie outside of a range."""


class Prior(NamedTuple):
    """What is believed before: the value and its standard deviation."""

    mean: float
    deviation: float


class Point(NamedTuple):
    """One measurement: `y` at `x`, counting as `weight` (1: in full)."""

    x: float
    y: float
    weight: float = 1.0


def line(points: Sequence[Point], offset: Prior, slope: Prior, deviation: float) -> tuple[float, float]:
    """Offset and slope of y = offset + slope * x, with `deviation` the standard deviation of one y.

    >>> level, gain = line([Point(0, 10), Point(1, 12), Point(2, 14), Point(1, 500)], Prior(0, 100), Prior(0, 100), 1.0)
    >>> round(level, 1), round(gain, 1)
    (10.0, 2.0)
    >>> line([], Prior(348, 60), Prior(0, 0.2), 24.0)
    (348.0, 0.0)
    """
    level, gain = float(offset.mean), float(slope.mean)
    for _ in range(ROUNDS):
        s0, s1 = 1 / offset.deviation**2, 0.0
        s2 = 1 / slope.deviation**2
        t0, t1 = offset.mean * s0, slope.mean * s2
        for point in points:
            weight = point.weight * _credit((point.y - level - gain * point.x) / deviation) / deviation**2
            s0 += weight
            s1 += weight * point.x
            s2 += weight * point.x**2
            t0 += weight * point.y
            t1 += weight * point.x * point.y
        determinant = s0 * s2 - s1**2
        before = level, gain
        level, gain = (t0 * s2 - t1 * s1) / determinant, (s0 * t1 - s1 * t0) / determinant
        if isclose(level, before[0]) and isclose(gain, before[1]):
            break
    return level, gain


def location(points: Sequence[Point], prior: Prior, deviation: float) -> float:
    """The value that the points' y scatter around; their x is not looked at.

    >>> round(location([Point(0, 1.0)], Prior(0.0, 0.5), 0.5), 3), round(location([Point(0, 1.0)] * 20, Prior(0.0, 0.5), 0.5), 2)
    (0.5, 0.96)
    """
    value = float(prior.mean)
    for _ in range(ROUNDS):
        total = 1 / prior.deviation**2
        weighted = prior.mean * total
        for point in points:
            weight = point.weight * _credit((point.y - value) / deviation) / deviation**2
            total += weight
            weighted += weight * point.y
        before, value = value, weighted / total
        if isclose(value, before):
            break
    return value


def _credit(deviations: float) -> float:
    """How far a value so many deviations off is believed."""
    return (FREEDOM + 1) / (FREEDOM + deviations**2)


def narrowed(low: float, high: float, ratios: Sequence[float], trials: float) -> tuple[float, float]:
    """A range of measured over predicted after `trials` independent trials with these ratios: nearer to theirs, never inside it.

    Theirs is the range of four in five, as stated ranges are: of five trials the one that is furthest off does not count.

    >>> [round(bound, 2) for bound in narrowed(0.5, 2.0, [0.95, 1.1], 4)]
    [0.69, 1.48]
    >>> narrowed(0.9, 1.1, [1.3], 4), narrowed(0.9, 1.1, [], 0)
    ((0.9487, 1.3), (0.9, 1.1))
    """
    if not ratios:
        return low, high
    ratios = sorted(ratios, key=lambda ratio: abs(log(ratio)))
    ratios = ratios[: len(ratios) - len(ratios) // ONE_IN]
    share = trials / (trials + PRIOR_TRIALS)
    least, most = min(1.0, *ratios), max(1.0, *ratios)
    return round(min(least, _between(low, least, share)), 4), round(max(most, _between(high, most, share)), 4)


def _between(stated: float, measured: float, share: float) -> float:
    return exp((1 - share) * log(stated) + share * log(measured))
