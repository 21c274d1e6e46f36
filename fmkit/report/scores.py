"""Published scores and intervals of quality, as several reports print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.selection.facts import Score

VENDOR_MARK = "!"
"""Behind a score that was not reported by an independent evaluator."""


def vendor_mark(score: Score) -> str:
    """The mark, where it is due."""
    return "" if score.reported_by == "independent" else VENDOR_MARK


def short_score(score: Score) -> str:
    """A score with its set-up: `ifeval (strict) 80.4!`."""
    variant = f" ({score.variant})" if score.variant else ""
    return f"{score.benchmark}{variant} {score.score:g}{vendor_mark(score)}"


def first_of_each(scores: Sequence[Score], most: int) -> tuple[Score, ...]:
    """The first `most` scores, one of each benchmark."""
    first: dict[str, Score] = {}
    for score in scores:
        first.setdefault(score.benchmark, score)
    return tuple(first.values())[:most]


def interval(value: float, low: float, high: float, mark: str = "") -> str:
    """A quality of 0 to 1 with its interval, and a mark behind it.

    >>> interval(0.8, 0.7, 0.9)
    '0.80 (0.70-0.90)'
    """
    return f"{value:.2f}{mark} ({low:.2f}-{high:.2f})"
