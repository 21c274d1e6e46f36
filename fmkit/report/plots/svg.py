"""A figure as SVG text. No library: boxes, lines and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.plots import theme
from fmkit.report.plots.panels import HEIGHT as PANEL_HEIGHT
from fmkit.report.plots.panels import draw_panel
from fmkit.report.plots.shapes import box, pattern, said, text, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.report.plots.figure import Figure, Panel

MARGIN = 24
BAR_WIDTH, LINE_WIDTH = 460, 330
LEAST_WIDTH = 560
TITLE_SIZE, SIZE = 17, 12
LINE_HEIGHT = 17


def draw(figure: Figure, *, adapts: bool = True) -> str:
    """The figure as an SVG document; `adapts` to a dark page where its reader's system is dark."""
    width = max(LEAST_WIDTH, 2 * MARGIN + max(sum(_width(panel) for panel in row) for row in figure.rows))
    body: list[str] = []
    y = MARGIN + TITLE_SIZE
    for line in wrapped(figure.title, TITLE_SIZE, width - 2 * MARGIN):
        body.append(text(MARGIN, y, line, size=TITLE_SIZE, bold=True))
        y += TITLE_SIZE + 5
    for line in wrapped(figure.subtitle, SIZE, width - 2 * MARGIN):
        body.append(text(MARGIN, y, line, size=SIZE, kind="soft"))
        y += LINE_HEIGHT
    if figure.legend:
        body += _legend(figure, MARGIN, y + 4)
        y += LINE_HEIGHT + 6
    y += 8
    for row in figure.rows:
        x = MARGIN
        for panel in row:
            body += draw_panel(panel, x, y, _width(panel))
            x += _width(panel)
        y += PANEL_HEIGHT
    y += 8
    for note in figure.notes:
        for line in wrapped(note, SIZE, width - 2 * MARGIN):
            body.append(text(MARGIN, y + 6, line, size=SIZE, kind="soft"))
            y += LINE_HEIGHT
    height = y + MARGIN
    return "\n".join(_document(figure, width, height, body, adapts=adapts)) + "\n"


def _width(panel: Panel) -> int:
    return BAR_WIDTH if panel.groups else LINE_WIDTH


def _document(figure: Figure, width: float, height: float, body: list[str], *, adapts: bool) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img">'
    )
    yield f"<title>{said(figure.title)}</title>"
    yield f"<desc>{said(figure.subtitle)}</desc>"
    yield f"<style>{theme.style(adapts=adapts)}</style>"
    yield f"<defs>{''.join(pattern(colour) for colour in sorted({*theme.PARTS.values(), theme.OTHER}))}</defs>"
    yield box(0, 0, width, height, classes="page")
    yield from body
    yield "</svg>"


def _legend(figure: Figure, x: float, y: float) -> Iterator[str]:
    """Squares of the parts, then what hatched and solid mean."""
    entries = [(name, theme.part_colour(name), True) for name in figure.legend]
    kinds = {bar.solid for row in figure.rows for panel in row for group in panel.groups for bar in group.bars}
    if len(kinds) > 1:
        entries += [("predicted", theme.OTHER, False), ("measured", theme.OTHER, True)]
    for name, colour, solid in entries:
        yield box(x, y - 9, 12, 11, colour=colour, solid=solid)
        yield text(x + 17, y, name, size=SIZE)
        x += 17 + len(name) * SIZE * theme.LETTER + 20
