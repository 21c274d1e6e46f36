"""How many classes would lie outside of 65 to 95 % if every interval held exactly 80 % of what is measured.

Both proofs of ranges (benchmarks.speed_accuracy, benchmarks.capability) ask that the 80 % interval covers 65 to 95 % of the rows of each
class. Rows are no independent draws: those of one device, or of one family, lie off together, and a class of one such group is one draw,
whatever its number of rows. So exact intervals leave classes outside too. How many is worked out here and printed beside the number
found, which it does not change: what lies outside does.

A group of rows has a share of its own inside, from a beta distribution with a mean of 80 % whose spread is the correlation within groups.
The correlation is estimated from the same rows, so that intervals which are too narrow for a whole group raise it, and the number expected:
it is that of intervals which are exact over many groups, not for each of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

EXACT = 0.8
"""The share of rows that an interval is made to hold."""
LOW, HIGH = 0.65, 0.95
"""The share of a class's rows that has to lie inside."""
LEAST_ROWS = 30
"""Classes with fewer rows are not judged."""
DRAWS, BATCH, SEED = 4000, 200, 20261128
MOST_CORRELATION = 0.99
"""Groups that are wholly in or out would have 1, for which there is no beta distribution."""


class Yardstick(msgspec.Struct, frozen=True, kw_only=True):
    """Classes found outside, beside the number expected of exact intervals: its mean, and the range that holds 80 % of the draws.

    `correlation` is that of lying inside, of two rows of one group.
    """

    rows: int
    groups: int
    correlation: float
    classes: int
    outside: int
    expected: float
    low: int
    high: int

    def told(self) -> str:
        """The figures as a sentence."""
        return (
            f"{self.outside} of {self.classes} classes of {LEAST_ROWS} or more rows outside of {LOW:.0%} to {HIGH:.0%}; exact intervals would "
            f"leave {self.expected:.1f} ({self.low} to {self.high} in 80 % of draws; correlation {self.correlation:.2f} within {self.groups} groups)"
        )


def lies_outside(shares: Floats) -> NDArray[np.bool_]:
    """Whether shares, as they are written with three decimals, are outside of the bounds."""
    written = np.round(shares, 3)
    found: NDArray[np.bool_] = (written < LOW) | (written > HIGH)
    return found


def yardstick(
    groups: Sequence[Hashable], inside: Sequence[bool] | NDArray[np.bool_], classes: Mapping[str, Sequence[int]]
) -> Yardstick:
    """The number of classes outside, and the number expected. Each row has a group and lies inside or not; a class is places of rows."""
    numbers: dict[Hashable, int] = {}
    group_of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)
    held = np.asarray(inside, dtype=np.float64)
    judged = [np.array(places, dtype=np.intp) for places in classes.values() if len(places) >= LEAST_ROWS]
    correlated = correlation(group_of, held)
    draws = outside_if_exact(group_of, correlated, judged)
    low, high = np.quantile(draws, (0.1, 0.9), method="inverted_cdf")
    return Yardstick(
        rows=len(held),
        groups=len(numbers),
        correlation=round(correlated, 3),
        classes=len(judged),
        outside=int(np.sum(lies_outside(np.array([held[places].mean() for places in judged])))),
        expected=round(float(draws.mean()), 2),
        low=int(low),
        high=int(high),
    )


def correlation(group_of: Ints, inside: Floats) -> float:
    """The intraclass correlation of a yes or no, by analysis of variance; 0 where it comes out below, or each row is a group of its own.

    (MSB - MSW) / (MSB + (n0 - 1) MSW), with the mean squares between and within k groups of n rows each, N rows in all, and
    n0 = (N - sum(n^2) / N) / (k - 1). Source: Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions (3rd edition, 2003),
    chapter 15; Ridout, Demetrio and Firth, Biometrics 55 (1999) 137-148, compare it with other estimators.

    >>> correlation(np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 1, 0, 1, 0, 0]))  # MSB = MSW / 2: less alike than chance
    0.0
    >>> round(correlation(np.array([0, 0, 0, 1, 1, 1]), np.array([1.0, 1, 1, 1, 0, 0])), 3)  # MSB = 2/3, MSW = 1/6, n0 = 3
    0.5
    """
    sizes = np.bincount(group_of).astype(np.float64)
    rows, groups = float(sizes.sum()), len(sizes)
    if groups < 2 or rows == groups:
        return 0.0
    yes = np.bincount(group_of, weights=inside)
    within_groups = float(np.sum(yes**2 / sizes))
    between = (within_groups - yes.sum() ** 2 / rows) / (groups - 1)
    within = (yes.sum() - within_groups) / (rows - groups)
    usual_size = (rows - np.sum(sizes**2) / rows) / (groups - 1)
    spread = between + (usual_size - 1) * within
    return 0.0 if spread <= 0 else float(np.clip((between - within) / spread, 0.0, MOST_CORRELATION))


def outside_if_exact(group_of: Ints, correlated: float, classes: Sequence[Ints]) -> Ints:
    """Classes outside in each of DRAWS draws of all rows, every interval being exact: classes that share rows lie outside together."""
    numbers = np.random.default_rng(SEED)
    groups = int(group_of.max()) + 1
    found = np.zeros(DRAWS, dtype=np.intp)
    for start in range(0, DRAWS, BATCH):
        shares = _shares_inside(numbers, groups, correlated)
        inside = numbers.random((BATCH, len(group_of))) < shares[:, group_of]
        for places in classes:
            found[start : start + BATCH] += lies_outside(inside[:, places].mean(axis=1))
    return found


def _shares_inside(numbers: np.random.Generator, groups: int, correlated: float) -> Floats:
    """The share of each group's rows that lie inside, for a batch of draws: a beta distribution has a correlation of 1 / (a + b + 1)."""
    if not correlated:
        return np.full((BATCH, groups), EXACT)
    both = 1 / correlated - 1
    return numbers.beta(EXACT * both, (1 - EXACT) * both, (BATCH, groups))
