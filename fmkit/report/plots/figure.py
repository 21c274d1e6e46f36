"""What a picture shows, without how it is drawn: panels in rows, with their data in the units of their axes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

Words = Callable[[float], str]
"""How a number on an axis is written."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One stack of parts from the bottom up, and the range of its top where one is stated. `solid`: measured, else predicted."""

    parts: tuple[tuple[str, float], ...]
    solid: bool = True
    low: float | None = None
    high: float | None = None

    @property
    def top(self) -> float:
        """The height of the stack."""
        return sum(size for _, size in self.parts)


class BarGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The bars side by side over one label of the axis."""

    label: str
    bars: tuple[Bar, ...]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a line, with the range around it where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Points of one kind. `measured` ones are dots with error bars, predicted ones a line in the band of its range."""

    name: str
    points: tuple[Point, ...]
    measured: bool = False


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes: stacks over labels, or series over numbers. `limit` is a line across, with its words; `unit` divides the figures.

    `words` writes figures of the vertical axis, after the division; `x_words` those of the horizontal one.
    """

    title: str
    x_label: str
    y_label: str
    groups: tuple[BarGroup, ...] = ()
    series: tuple[Series, ...] = ()
    words: Words = "{:g}".format
    x_words: Words = "{:g}".format
    unit: float = 1.0
    top: float | None = None
    limit: tuple[float, str] | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A whole picture: rows of panels under a title, with a legend of the parts in `legend` and lines of notes below."""

    title: str
    subtitle: str
    rows: tuple[tuple[Panel, ...], ...]
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
