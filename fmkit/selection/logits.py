"""Published scores on the logit scale, as an independent evaluator would report them."""

from __future__ import annotations

from collections import defaultdict
from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.score_items import item_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmkit.selection.capability import VendorOffset
    from fmkit.selection.facts import Score

LEAST_SHARE, MOST_SHARE = 0.01, 0.99
"""A score is held this far from 0 and 1, where its logit would be infinite."""
REPORTER_ORDER = ("independent", "vendor", "other-vendor")
"""Whose score is taken where several are published."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One score on the logit scale, as an independent evaluator would report it; `sd` is what the vendor's report adds."""

    item: tuple[str, str]
    value: float
    sd: float


def logit(share: float) -> float:
    """log(p / (1 - p)), with p held within 0.01 and 0.99.

    >>> round(logit(0.5), 3), round(logit(0.9), 3), round(logit(1.0), 3)
    (0.0, 2.197, 4.595)
    """
    held = min(max(share, LEAST_SHARE), MOST_SHARE)
    return log(held / (1 - held))


def from_logit(value: float) -> float:
    """The inverse of `logit`.

    >>> from_logit(0.0), round(from_logit(2.1972), 3)
    (0.5, 0.9)
    """
    return 1 / (1 + exp(-value))


def full_marks(unit: str) -> float:
    """What a perfect score is in a unit.

    >>> full_marks("%"), full_marks("score/10")
    (100.0, 10.0)
    """
    return {"score/10": 10.0, "score/1000": 1000.0}.get(unit, 100.0)


def observations(
    scores: Iterable[Score], fit_offsets: Mapping[str, VendorOffset]
) -> dict[tuple[str, str], Observation]:
    """The scores of one model by item: the independent one where there is one, of several the lower median."""
    rows: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        item = item_of(score)
        if item is not None:
            rows[item].append(score)
    return {item: _observation(item, found, fit_offsets) for item, found in rows.items()}


def _observation(item: tuple[str, str], rows: list[Score], offsets: Mapping[str, VendorOffset]) -> Observation:
    chosen = next(
        found for reporter in REPORTER_ORDER if (found := [row for row in rows if row.reported_by == reporter])
    )
    chosen.sort(key=lambda row: row.score)
    middle = chosen[(len(chosen) - 1) // 2]
    value = logit(middle.score / full_marks(middle.unit))
    offset = offsets.get(item[0], offsets.get(""))
    if middle.reported_by == "independent" or offset is None:
        return Observation(item=item, value=value, sd=0.0)
    return Observation(item=item, value=value - offset.offset, sd=offset.sd)
