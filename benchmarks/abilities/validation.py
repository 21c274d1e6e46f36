"""Scores held out and predicted, by the code that ships, from constants that know nothing of them.

kin        all scores of a model, and of all its kin (its family, and families joined to it by base models)
model      all scores of a model; its siblings' are known
benchmark  one benchmark of a model, and those that ask the same questions; its other scores are known
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar
from zlib import crc32

import numpy as np
from msgspec.structs import replace

from benchmarks.abilities.benchmark_facts import questions
from benchmarks.abilities.factors import Fit
from fmkit.selection.abilities import abilities_in_modes
from fmkit.selection.capability import INTERVAL_Z, NO_FIT, CapabilityFit, VendorOffset
from fmkit.selection.covariates import Answering, answering
from fmkit.selection.estimated_scores import BASES, basis_of, predictive
from fmkit.selection.logits import from_logit, logit
from fmkit.selection.score_items import item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.abilities.cells import Cell, ItemKey, Table

_Class = TypeVar("_Class")

Scheme = Literal["kin", "model", "benchmark"]
SCHEMES: tuple[Scheme, ...] = ("kin", "model", "benchmark")
FOLDS = 10
FACTORS = {"language": 3, "embedding": 1}
"""Factors of each area: more predicted held-out benchmarks no better."""
LEAST_REGRESSED = 6
"""A line through fewer models than this is no regression: the mean of the item stands in."""
WIDTH_PRIOR, PUBLISHER_PRIOR = 10, 10
"""The width of an item and of a publisher start as if this many scores had asked for 1."""
LEAST_SPREAD = 30
"""A width learnt from fewer held-out scores would be chance: the area's own over all bases stands in."""


class Held(NamedTuple):
    """One held-out score in points of 100, and what was predicted without it; `centre` and `sd` are on the logit scale."""

    area: str
    scheme: Scheme
    fold: int
    model: str
    publisher: str
    item: ItemKey
    basis: str
    actual: float
    centre: float
    sd: float
    family_mean: float
    log_parameters: float

    @property
    def value(self) -> float:
        """The prediction in points."""
        return 100 * from_logit(self.centre)

    @property
    def z(self) -> float:
        """The error in predicted standard deviations."""
        return (logit(self.actual / 100) - self.centre) / self.sd


def fit_of(
    table: Table, cells: Sequence[Cell], offsets: dict[str, VendorOffset], factors: int | None = None
) -> CapabilityFit:
    """The constants of one area from `cells`, without widths of intervals."""
    fit = Fit(table, factors or FACTORS[table.area], cells)
    return replace(
        NO_FIT,
        scores=len(cells),
        models=len({cell.model for cell in cells}),
        items=fit.items(),
        priors={table.area: fit.prior()},
        offsets=offsets,
    )


def held_out(table: Table, scheme: Scheme, offsets: dict[str, VendorOffset], factors: int | None = None) -> list[Held]:
    """Every score of the table, predicted once."""
    fold_of = _folds(table, scheme)
    found: list[Held] = []
    for fold in range(FOLDS):
        test = [cell for cell in table.cells if fold_of(cell) == fold]
        train = [cell for cell in table.cells if fold_of(cell) != fold]
        fit = fit_of(table, train, offsets, factors)
        items = {(item.benchmark, item.variant): item for item in fit.items}
        able = abilities_in_modes(_without(table, test), fit)
        simple = SimplePredictions(table, train)
        for cell in test:
            if cell.item not in items:
                continue
            centre, sd = predictive(able[cell.member], items[cell.item])
            found.append(
                Held(
                    area=table.area,
                    scheme=scheme,
                    fold=fold,
                    model=cell.model,
                    publisher=table.candidates[cell.model].publisher,
                    item=cell.item,
                    basis=basis_of(able[cell.member].scores),
                    actual=100 * from_logit(cell.value),
                    centre=centre,
                    sd=sd,
                    family_mean=simple.family_mean(cell),
                    log_parameters=simple.regression(cell),
                )
            )
    return found


def _folds(table: Table, scheme: Scheme) -> Callable[[Cell], int]:
    """The fold of a cell: by group of kin, by model, or by model and benchmark."""
    if scheme == "benchmark":
        return lambda cell: crc32(f"{cell.model} {questions(cell.item[0])}".encode()) % FOLDS
    group = table.kin if scheme == "kin" else {model: model for model in table.candidates}
    sizes: dict[str, int] = defaultdict(int)
    for cell in table.cells:
        sizes[group[cell.model]] += 1
    filled = [0] * FOLDS
    fold: dict[str, int] = {}
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold[name] = filled.index(min(filled))
        filled[fold[name]] += size
    return lambda cell: fold[group[cell.model]]


def _without(table: Table, test: Iterable[Cell]) -> list[Answering]:
    """The models without the scores that are held out."""
    hidden = {(*cell.member, cell.item) for cell in test}
    return [
        replace(m, scores=tuple(score for score in m.scores if (*m.key, item_of(score)) not in hidden))
        for candidate in table.candidates.values()
        for m in answering(candidate)
    ]


class SimplePredictions:
    """What anybody could say: the mean of the family on the item, and a line over the logarithm of parameters."""

    def __init__(self, table: Table, train: Sequence[Cell]) -> None:
        self._table = table
        self._items: dict[ItemKey, list[float]] = defaultdict(list)
        self._families: dict[tuple[str, ItemKey], list[float]] = defaultdict(list)
        self._points: dict[ItemKey, list[tuple[float, float]]] = defaultdict(list)
        for cell in train:
            points = 100 * from_logit(cell.value)
            self._items[cell.item].append(points)
            self._families[table.candidates[cell.model].family, cell.item].append(points)
            size = self._size(cell)
            if size is not None:
                self._points[cell.item].append((size, points))

    def _size(self, cell: Cell) -> float | None:
        return self._table.covariates[cell.member].get("log10 parameters")

    def family_mean(self, cell: Cell) -> float:
        """The mean of the siblings known on the item; of all models where none is."""
        known = self._families.get((self._table.candidates[cell.model].family, cell.item))
        return fmean(known or self._items[cell.item])

    def regression(self, cell: Cell) -> float:
        """The item's line over log parameters; its mean where parameters are not known or too few models are."""
        size, rows = self._size(cell), self._points[cell.item]
        if size is None or len(rows) < LEAST_REGRESSED:
            return fmean(self._items[cell.item])
        slope, start = np.polyfit([row[0] for row in rows], [row[1] for row in rows], 1)
        return float(min(max(slope * size + start, 0.0), 100.0))


def spreads(held: Sequence[Held]) -> dict[str, float]:
    """By area and basis: what 80 % intervals have to be multiplied by, so that four of five held-out scores lie within."""
    found = {}
    for area in sorted({row.area for row in held}):
        rows = [row for row in held if row.area == area]
        every = spread_of([row.z for row in rows])
        for basis in BASES:
            own = [row.z for row in rows if row.basis == basis]
            found[f"{area} {basis}"] = spread_of(own) if len(own) >= LEAST_SPREAD else every
    return found


def spread_of(errors: Sequence[float]) -> float:
    """What 80 % intervals of errors in predicted standard deviations have to be multiplied by.

    >>> spread_of([-2.5632, 2.5632])
    2.0
    """
    return round(float(np.quantile(np.abs(errors), 0.8)) / INTERVAL_Z, 3)


class Widths(NamedTuple):
    """What intervals are multiplied by beside what all of their area and basis are: by item, and by area and publisher."""

    items: dict[ItemKey, float]
    publishers: dict[str, float]

    @classmethod
    def of(cls, held: Sequence[Held]) -> Widths:
        """Learnt one after the other: what is left of the first is the second's."""
        common = spreads(held)
        left = [abs(row.z) / common[f"{row.area} {row.basis}"] for row in held]
        items = _widths(zip((row.item for row in held), left, strict=True), WIDTH_PRIOR)
        left = [z / items[row.item] for row, z in zip(held, left, strict=True)]
        return cls(
            items, _widths(zip((f"{row.area} {row.publisher}" for row in held), left, strict=True), PUBLISHER_PRIOR)
        )

    def width(self, row: Held) -> float:
        """What the interval of one score is multiplied by."""
        return self.items.get(row.item, 1.0) * self.publishers.get(f"{row.area} {row.publisher}", 1.0)


def _widths(errors: Iterable[tuple[_Class, float]], prior: int) -> dict[_Class, float]:
    """Spreads by class, drawn towards 1 as if `prior` more had said so."""
    found: dict[_Class, list[float]] = defaultdict(list)
    for name, error in errors:
        found[name].append(error)
    return {name: round((len(zs) * spread_of(zs) + prior) / (len(zs) + prior), 3) for name, zs in found.items()}


def covered(held: Sequence[Held]) -> dict[int, bool]:
    """Whether each score (by place in `held`) lay in its interval, whose width was learnt from the other folds."""
    found: dict[int, bool] = {}
    for fold in range(FOLDS):
        others = [row for row in held if row.fold != fold]
        common, widths = spreads(others), Widths.of(others)
        for place, row in enumerate(held):
            if row.fold == fold:
                found[place] = abs(row.z) <= INTERVAL_Z * common[f"{row.area} {row.basis}"] * widths.width(row)
    return found
