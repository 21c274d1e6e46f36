"""How far predictions are from what was measured, in the words that all benchmarks of speed use."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def errors(ratios: Sequence[float]) -> dict[str, float]:
    """Median and 90th percentile of the distance from 1, and on which side the middle lies.

    >>> errors([0.9, 1.0, 1.2])
    {'median': 0.1, 'p90': 0.2, 'bias': 0.0}
    """
    ordered = sorted(abs(ratio - 1) for ratio in ratios)
    return {
        "median": round(median(ordered), 4),
        "p90": round(ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))], 4),
        "bias": round(median(ratios) - 1, 4),
    }
