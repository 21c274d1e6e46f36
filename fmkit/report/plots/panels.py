"""One pair of axes with what stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.plots import theme
from fmkit.report.plots.scales import Scale, across, upwards
from fmkit.report.plots.shapes import box, dot, path, segment, text, whisker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmkit.report.plots.figure import Bar, Panel, Series

HEIGHT = 292
TITLE, LEFT, RIGHT, BOTTOM = 26, 62, 18, 52
SIZE = 11
BAR_SHARE = 0.72
"""Of the room of a group, what its bars fill."""
MOST_BAR = 46


def draw_panel(panel: Panel, x: float, y: float, width: float) -> Iterator[str]:
    """The panel with its upper left corner at (x, y)."""
    left, right = x + LEFT, x + width - RIGHT
    top, bottom = y + TITLE, y + HEIGHT - BOTTOM
    vertical = upwards(_figures(panel), bottom, top + 8, top=None if panel.top is None else panel.top / panel.unit)
    yield text(left, y + 12, panel.title, size=13, bold=True)
    yield from _vertical_axis(panel, vertical, x, left, right)
    if panel.groups:
        yield from _bars(panel, vertical, left, right)
    else:
        yield from _lines(panel, vertical, left, right)
    if panel.limit is not None:
        figure, words = panel.limit
        level = vertical.at(figure / panel.unit)
        yield segment(left, level, right, level, colour=theme.MEASURED, width=1.5, dashed=True)
        yield text(left + 5, level - 6, words, size=SIZE, halo=True)
    yield segment(left, bottom, right, bottom, classes="axis")
    yield text((left + right) / 2, bottom + 38, panel.x_label, size=SIZE, anchor="middle", kind="soft")


def _figures(panel: Panel) -> list[float]:
    """All that has to find room on the vertical axis."""
    found = [figure for group in panel.groups for bar in group.bars for figure in (bar.top, bar.high or 0.0)]
    for series in panel.series:
        for point in series.points:
            found += [point.y, *(edge for edge in (point.low, point.high) if edge is not None)]
    if panel.groups:
        found.append(0.0)
    return [figure / panel.unit for figure in found]


def _vertical_axis(panel: Panel, scale: Scale, x: float, left: float, right: float) -> Iterator[str]:
    for tick in scale.ticks:
        level = scale.at(tick)
        yield segment(left, level, right, level, classes="grid")
        yield text(left - 7, level + 4, panel.words(tick), size=SIZE, anchor="end", kind="soft")
    middle = (scale.start + scale.end) / 2
    yield text(x + 14, middle, panel.y_label, size=SIZE, anchor="middle", kind="soft", turned=True)


def _bars(panel: Panel, scale: Scale, left: float, right: float) -> Iterator[str]:
    room = (right - left) / len(panel.groups)
    most = max(len(group.bars) for group in panel.groups)
    width = min(MOST_BAR, room * BAR_SHARE / most)
    for place, group in enumerate(panel.groups):
        middle = left + room * (place + 0.5)
        for number, bar in enumerate(group.bars):
            start = middle + width * (number - len(group.bars) / 2)
            yield from _bar(panel, bar, scale, start, width)
        yield text(middle, scale.start + 17, group.label, size=SIZE, anchor="middle", kind="soft")


def _bar(panel: Panel, bar: Bar, scale: Scale, x: float, width: float) -> Iterator[str]:
    reached = 0.0
    kind = "measured" if bar.solid else "predicted"
    for name, size in bar.parts:
        bottom, top = scale.at(reached / panel.unit), scale.at((reached + size) / panel.unit)
        words = f"{name}, {kind}: {panel.words(round(size / panel.unit, 3))} {panel.y_label}"
        yield box(x + 1.5, top, width - 3, bottom - top, colour=theme.part_colour(name), solid=bar.solid, words=words)
        reached += size
    if bar.low is not None and bar.high is not None:
        yield from whisker(x + width / 2, scale.at(bar.low / panel.unit), scale.at(bar.high / panel.unit))


def _lines(panel: Panel, scale: Scale, left: float, right: float) -> Iterator[str]:
    figures = [point.x for series in panel.series for point in series.points]
    horizontal = across(figures, left + 14, right - 14)
    for series in panel.series:
        drawn = _dots if series.measured else _band
        yield from drawn(series, panel, horizontal, scale)
    yield from _labels(panel, horizontal, scale)


def _labels(panel: Panel, horizontal: Scale, scale: Scale) -> Iterator[str]:
    """The ticks' words, as many as stand beside each other."""
    free = float("-inf")
    for tick in horizontal.ticks:
        words = panel.x_words(tick)
        half = len(words) * SIZE * theme.LETTER / 2
        if horizontal.at(tick) - half > free:
            yield text(horizontal.at(tick), scale.start + 17, words, size=SIZE, anchor="middle", kind="soft")
            free = horizontal.at(tick) + half + 4


def _band(series: Series, panel: Panel, horizontal: Scale, scale: Scale) -> Iterator[str]:
    """A prediction: the middle as a line, its range as an area; a single one as a cross-line with its range."""
    points = sorted(series.points, key=lambda point: point.x)
    middle = _pixels([(point.x, point.y) for point in points], panel, horizontal, scale)
    upper = _pixels([(point.x, point.high or point.y) for point in points], panel, horizontal, scale)
    lower = _pixels([(point.x, point.low or point.y) for point in points], panel, horizontal, scale)
    if len(points) == 1:
        (x, level), half = middle[0], 26
        edges = [(x - half, upper[0][1]), (x + half, upper[0][1]), (x + half, lower[0][1]), (x - half, lower[0][1])]
        yield path(edges, colour=theme.PREDICTED, closed=True)
        yield path([(x - half, level), (x + half, level)], colour=theme.PREDICTED)
        return
    yield path([*upper, *reversed(lower)], colour=theme.PREDICTED, closed=True)
    yield path(middle, colour=theme.PREDICTED)


def _dots(series: Series, panel: Panel, horizontal: Scale, scale: Scale) -> Iterator[str]:
    """Measurements: a dot each, with the deviation of its repeats."""
    for point in series.points:
        ((x, y),) = _pixels([(point.x, point.y)], panel, horizontal, scale)
        if point.low is not None and point.high is not None:
            low, high = scale.at(point.low / panel.unit), scale.at(point.high / panel.unit)
            yield from whisker(x, low, high, half=4, classes="", colour=theme.MEASURED)
        yield dot(x, y, theme.MEASURED, words=f"{series.name}: {panel.words(round(point.y / panel.unit, 3))}")


def _pixels(
    points: Sequence[tuple[float, float]], panel: Panel, horizontal: Scale, scale: Scale
) -> list[tuple[float, float]]:
    return [(horizontal.at(x), scale.at(y / panel.unit)) for x, y in points]
