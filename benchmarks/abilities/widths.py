"""Widths of 80 % intervals: learnt from held-out scores, and judged, by the rule that ships (`fmkit.selection.capability.width_of`).

How far off an estimate is depends on what is known of the model, so that each basis has widths of its own, learnt from whatever score was
predicted on that basis: the first two mostly from models whose kin, and who themselves, were held out; the others from held-out benchmarks.
Within a basis an item and a publisher have a width beside the common one, learnt one after the other: what is left of the first is the
second's.

`judged` learns the same widths from what the scheme leaves known: for models whose kin were held out from other groups of kin, and so on.
LEAST_SPREAD and the two priors were chosen on the coverage that is reported.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from benchmarks.abilities.validation import FOLDS, SCHEMES
from fmkit.selection.capability import BASES, INTERVAL_Z, Widths, item_name, width_of, widths_key
from fmkit.selection.score_items import Area

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.abilities.validation import Held

ITEM_PRIOR, PUBLISHER_PRIOR = 10, 10
"""The width of an item and of a publisher start as if this many scores had asked for 1."""
LEAST_SPREAD = 30
"""A width learnt from fewer held-out scores would be chance: the area's own over all bases stands in."""


class _Error(NamedTuple):
    """A held-out score's error in predicted standard deviations, with what its width goes by."""

    item: str
    publisher: str
    size: float


def learnt(held: Iterable[Held]) -> dict[str, Widths]:
    """The widths that held-out scores ask for, by area and basis."""
    errors: dict[str, list[_Error]] = defaultdict(list)
    for row in held:
        errors[widths_key(row.area, row.basis)].append(_Error(item_name(*row.item), row.publisher, abs(row.z)))
    found = {}
    for area in get_args(Area):
        of_area = [errors[widths_key(area, basis)] for basis in BASES]
        if not any(of_area):
            continue
        usual = spread_of([row.size for rows in of_area for row in rows])
        for basis, rows in zip(BASES, of_area, strict=True):
            enough = len(rows) >= LEAST_SPREAD
            found[widths_key(area, basis)] = _widths(rows, spread_of([r.size for r in rows]) if enough else usual)
    return found


def _widths(rows: Sequence[_Error], every: float) -> Widths:
    items = _by_name(((row.item, row.size / every) for row in rows), ITEM_PRIOR)
    publishers = _by_name(((row.publisher, row.size / every / items[row.item]) for row in rows), PUBLISHER_PRIOR)
    return Widths(every=every, items=items, publishers=publishers)


def _by_name(errors: Iterable[tuple[str, float]], prior: int) -> dict[str, float]:
    """Spreads by name, drawn towards 1 as if `prior` more had said so."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, error in errors:
        found[name].append(error)
    return {
        name: round((len(sizes) * spread_of(sizes) + prior) / (len(sizes) + prior), 3)
        for name, sizes in sorted(found.items())
    }


def spread_of(errors: Sequence[float]) -> float:
    """What 80 % intervals of errors in predicted standard deviations have to be multiplied by.

    >>> spread_of([-2.5632, 2.5632])
    2.0
    """
    return round(float(np.quantile(np.abs(errors), 0.8)) / INTERVAL_Z, 3)


def inside(row: Held, widths: Mapping[str, Widths]) -> bool:
    """Whether a score lay in its 80 % interval."""
    return abs(row.z) <= INTERVAL_Z * width_of(widths, row.area, row.basis, item_name(*row.item), row.publisher)


def judged(held: Sequence[Held]) -> list[bool]:
    """Whether each score lay in its interval, whose width was learnt from the scores, of all schemes, that its fold leaves known."""
    found = [False] * len(held)
    for scheme in SCHEMES:
        for fold in range(FOLDS):
            asked = [n for n, row in enumerate(held) if row.scheme == scheme and row.folds[scheme] == fold]
            if asked:
                widths = learnt(row for row in held if row.folds[scheme] != fold)
                for n in asked:
                    found[n] = inside(held[n], widths)
    return found
