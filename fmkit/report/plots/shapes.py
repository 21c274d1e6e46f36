"""The shapes that pictures are made of, as SVG elements."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from fmkit.report.plots.theme import LETTER

if TYPE_CHECKING:
    from collections.abc import Sequence

UNPRINTABLE = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF]
)
"""What XML does not allow, or nobody can read: names come from files of strangers."""


def said(words: str) -> str:
    """Words as they may stand in a document.

    >>> said("a < b" + chr(0))
    'a &lt; b'
    """
    return escape(words.translate(UNPRINTABLE))


def text(
    x: float, y: float, words: str, *, size: float = 12, anchor: str = "start", kind: str = "ink", bold: bool = False, turned: bool = False,
    halo: bool = False,
) -> str:  # fmt: skip
    """Words at their baseline; `turned` reads upwards, a `halo` keeps them readable over something else."""
    weight = ' font-weight="600"' if bold else ""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    kind += " halo" if halo else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{weight}{turn}>{said(words)}</text>'


def box(
    x: float, y: float, width: float, height: float, *, colour: str = "", solid: bool = True, classes: str = "", words: str = ""
) -> str:  # fmt: skip
    """A rectangle; one that is not solid is hatched and outlined. `words` show when a mouse rests on it."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{max(0, height):.1f}"'
    if classes:
        look = f'class="{classes}"'
    elif solid:
        look = f'fill="{colour}"'
    else:
        look = f'fill="url(#h{colour[1:]})" stroke="{colour}" stroke-width="1"'
    if not words:
        return f"<rect {place} {look}/>"
    return f"<rect {place} {look}><title>{said(words)}</title></rect>"


def pattern(colour: str) -> str:
    """The hatching of a colour."""
    return (
        f'<pattern id="h{colour[1:]}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="5" height="5" fill="{colour}" fill-opacity="0.18"/>'
        f'<line x1="0" y1="0" x2="0" y2="5" stroke="{colour}" stroke-width="2"/></pattern>'
    )


def segment(
    x1: float, y1: float, x2: float, y2: float, *, classes: str = "", colour: str = "", width: float = 1, dashed: bool = False
) -> str:  # fmt: skip
    """A straight line."""
    look = f'class="{classes}"' if classes else f'stroke="{colour}"'
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {look} stroke-width="{width:g}"{dash}/>'


def whisker(
    x: float, low: float, high: float, *, half: float = 5, classes: str = "mark", colour: str = ""
) -> list[str]:
    """A range as a line with ends, between the pixels `low` and `high`."""
    return [
        segment(x, low, x, high, classes=classes, colour=colour, width=1.4),
        segment(x - half, low, x + half, low, classes=classes, colour=colour, width=1.4),
        segment(x - half, high, x + half, high, classes=classes, colour=colour, width=1.4),
    ]


def path(points: Sequence[tuple[float, float]], *, colour: str, closed: bool = False) -> str:
    """A line through points; a closed one is a pale area."""
    steps = " ".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    if closed:
        return f'<path d="{steps} Z" fill="{colour}" fill-opacity="0.18"/>'
    return f'<path d="{steps}" fill="none" stroke="{colour}" stroke-width="2"/>'


def dot(x: float, y: float, colour: str, *, words: str = "") -> str:
    """A measured point."""
    title = f"<title>{said(words)}</title>" if words else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>'


def wrapped(words: str, size: float, width: float) -> list[str]:
    """The words in lines that fit into so many pixels.

    >>> wrapped("one two three", 10, 50)
    ['one two', 'three']
    """
    most = max(8, int(width / (size * LETTER)))
    lines: list[str] = []
    for word in words.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word if len(word) <= most else word[: most - 1] + "…")
    return lines
