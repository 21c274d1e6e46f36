"""The yardstick of classes outside: against binomial and beta-binomial distributions written out, and rows made another way."""

from __future__ import annotations

from math import comb, exp, lgamma

import numpy as np
import pytest

from benchmarks.coverage import DRAWS, correlation, outside_if_exact, yardstick


def outside_of(rows: int, distribution: list[float]) -> float:
    """The probability that fewer than 65 % or more than 95 % of the rows lie inside, by the probability of each number."""
    return sum(chance for count, chance in enumerate(distribution) if not 0.65 <= round(count / rows, 3) <= 0.95)


def binomial(rows: int) -> list[float]:
    return [comb(rows, count) * 0.8**count * 0.2 ** (rows - count) for count in range(rows + 1)]


def beta_binomial(rows: int, correlated: float) -> list[float]:
    """Integrals of the binomial over the beta distribution, by its own function."""
    a, b = 0.8 * (1 / correlated - 1), 0.2 * (1 / correlated - 1)

    def beta(one: float, other: float) -> float:
        return lgamma(one) + lgamma(other) - lgamma(one + other)

    return [comb(rows, n) * exp(beta(n + a, rows - n + b) - beta(a, b)) for n in range(rows + 1)]


def test_independent_rows_leave_as_many_classes_outside_as_the_binomial_says() -> None:
    """Every row a group of its own. Of 32 rows 6.6 % of the draws are outside, of 200 nearly none."""
    sizes = (32, 40, 57, 200)
    starts = np.cumsum((0, *sizes))
    classes = {str(n): list(range(starts[n], starts[n + 1])) for n in range(len(sizes))}
    rows = int(starts[-1])
    found = yardstick(list(range(rows)), [True] * rows, {**classes, "too small to be judged": [0, 1, 2]})
    chances = [outside_of(size, binomial(size)) for size in sizes]
    assert (found.correlation, found.classes, found.outside) == (0.0, 4, 4)
    assert found.expected == pytest.approx(sum(chances), abs=4 * (sum(chances) / DRAWS) ** 0.5)


@pytest.mark.parametrize("correlated", [0.05, 0.3, 0.8])
def test_correlated_rows_leave_as_many_as_the_beta_binomial_says(correlated: float) -> None:
    one, both = np.zeros(40, dtype=np.intp), np.repeat((0, 1), (30, 50)).astype(np.intp)
    alone = outside_of(40, beta_binomial(40, correlated))
    summed = np.convolve(beta_binomial(30, correlated), beta_binomial(50, correlated)).tolist()
    for group_of, chance in ((one, alone), (both, outside_of(80, summed))):
        draws = outside_if_exact(group_of, correlated, [np.arange(len(group_of))])
        assert draws.mean() == pytest.approx(chance, abs=4 * (chance * (1 - chance) / DRAWS) ** 0.5)


@pytest.mark.parametrize("correlated", [0.0, 0.1, 0.5])
def test_the_correlation_of_rows_made_so_is_found(correlated: float) -> None:
    """Each row copies its group's own draw with the square root of the correlation as its chance, and draws anew otherwise."""
    numbers = np.random.default_rng(5)
    group_of = np.repeat(np.arange(1500), numbers.integers(1, 30, 1500))
    copied = numbers.random(len(group_of)) < correlated**0.5
    inside = np.where(copied, (numbers.random(1500) < 0.8)[group_of], numbers.random(len(group_of)) < 0.8)
    assert correlation(group_of, inside.astype(np.float64)) == pytest.approx(correlated, abs=0.03)


def test_classes_that_share_rows_lie_outside_together() -> None:
    """The mean is that of both alone, the range as wide as if they were one."""
    rows = np.arange(40)
    twice = outside_if_exact(np.zeros(40, dtype=np.intp), 0.3, [rows, rows])
    assert set(twice.tolist()) == {0, 2}


def test_groups_wholly_in_or_out_have_all_but_full_correlation() -> None:
    groups = [n // 40 for n in range(200)]
    found = yardstick(
        groups, [n >= 40 for n in range(200)], {str(k): list(range(40 * k, 40 * k + 40)) for k in range(5)}
    )
    assert found.correlation == 0.99
    assert found.outside == 5
    assert 4.5 < found.expected <= 5
    assert "5 of 5 classes" in found.told()
