"""Where the ticks of an axis stand, and where a figure lies on it."""

from __future__ import annotations

from math import ceil, floor, log, log10
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE = 15.0
"""Largest over smallest figure above which an axis is logarithmic."""


class Scale(NamedTuple):
    """An axis from `low` to `high`, drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, figure: float) -> float:
        """The pixel of a figure; what lies outside is drawn at the edge."""
        figure = min(max(figure, self.low), self.high)
        if self.logarithmic:
            share = log(figure / self.low) / log(self.high / self.low)
        else:
            share = (figure - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def upwards(figures: Sequence[float], start: float, end: float, *, top: float | None = None, ticks: int = 5) -> Scale:
    """From zero to a round number above the largest, or logarithmic where figures are far apart and none is zero.

    >>> upwards([3.1, 7.9], 0, 100).ticks, upwards([0.02, 4.1], 0, 100).ticks
    ((0.0, 2.0, 4.0, 6.0, 8.0), (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0))
    """
    largest, smallest = max(figures, default=1.0) or 1.0, min(figures, default=0.0)
    if top is None and smallest > 0 and largest / smallest > WIDE:
        marks = _round_numbers(smallest, largest)
        return Scale(marks[0], marks[-1], start, end, marks, logarithmic=True)
    largest = top or largest
    step = _step(largest / ticks)
    count = ceil(round(largest / step, 6))
    return Scale(0.0, step * count, start, end, tuple(round(step * mark, 10) for mark in range(count + 1)))


def across(figures: Sequence[float], start: float, end: float) -> Scale:
    """Over the figures themselves, which are its ticks; doublings are equally far apart, and a single one is in the middle."""
    marks = tuple(sorted(set(figures)))
    low, high = (marks[0] / 2, marks[0] * 2) if len(marks) == 1 else (marks[0], marks[-1])
    return Scale(low, high, start, end, marks, logarithmic=low > 0)


def _step(rough: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _round_numbers(smallest: float, largest: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten around all figures; powers alone where that is many."""
    powers = range(floor(log10(smallest)), ceil(log10(largest)) + 1)
    found = [round(factor * 10.0**power, 12) for power in powers for factor in (1, 2, 5)]
    inside = [mark for place, mark in enumerate(found[:-1]) if found[place + 1] > smallest and mark < largest]
    marks = [*inside, found[found.index(inside[-1]) + 1]]
    many = 10
    if len(marks) > many:
        marks = [10.0**power for power in range(floor(log10(smallest)), ceil(log10(largest)) + 1)]
    return tuple(marks)
