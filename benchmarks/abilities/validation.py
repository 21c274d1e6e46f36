"""Scores held out and predicted, by the code that ships, from constants that know nothing of them: vendors' offsets among those.

kin        all scores of a model, and of all its kin (its family, and families joined to it by base models)
model      all scores of a model; its siblings' are known
benchmark  one benchmark of a model, with those that ask the same questions or share some of them; its other scores are known

The same predictions teach the widths of intervals that ship and judge them (widths.py).
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Literal
from zlib import crc32

import numpy as np

from benchmarks.abilities.benchmark_facts import hidden_with, questions
from benchmarks.abilities.hiding import left
from benchmarks.abilities.predictions import Prediction
from fmkit.selection.capability import Basis
from fmkit.selection.estimated_scores import predictive
from fmkit.selection.logits import from_logit
from fmkit.selection.score_items import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.abilities.cells import Cell, ItemKey, Table

Scheme = Literal["kin", "model", "benchmark"]
SCHEMES: tuple[Scheme, ...] = ("kin", "model", "benchmark")
FOLDS = 10
LEAST_REGRESSED = 6
"""A line through fewer models than this is no regression: the mean of the item stands in."""


class Held(Prediction, frozen=True, kw_only=True):
    """One held-out score, and what was predicted without it. `folds` are those it is in by scheme, whichever it was held out in."""

    area: Area
    scheme: Scheme
    folds: dict[Scheme, int]
    model: str
    publisher: str
    basis: Basis


def held_out(table: Table, scheme: Scheme) -> list[Held]:
    """Every score of the table, predicted once."""
    fold_of = {one: _folds(table, one) for one in SCHEMES}
    found: list[Held] = []
    for fold in range(FOLDS):
        test = {(c.member, c.item) for c in table.cells if fold_of[scheme](c) == fold}
        rest = left(table, _hides(test, scheme))
        if rest is None:
            continue
        items = {(item.benchmark, item.variant): item for item in rest.fit.items}
        simple = SimplePredictions(table, rest.known)
        for cell in rest.hidden:
            if (cell.member, cell.item) not in test or cell.item not in items:
                continue
            ability = rest.abilities[cell.member]
            centre, sd = predictive(ability, items[cell.item])
            found.append(
                Held(
                    area=table.area,
                    scheme=scheme,
                    folds={one: of(cell) for one, of in fold_of.items()},
                    model=cell.model,
                    publisher=ability.publisher,
                    item=cell.item,
                    basis=ability.basis,
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


def _hides(test: set[tuple[tuple[str, bool | None], ItemKey]], scheme: Scheme) -> Callable[[str, str], bool]:
    """Which scores go with those of a fold, by model and benchmark: all of a model, or those that share questions."""
    gone: Mapping[str, set[str]] = defaultdict(set)
    for (model, _), (benchmark, _) in test:
        gone[model].update(hidden_with(questions(benchmark)))
    if scheme == "benchmark":
        return lambda model, benchmark: model in gone and questions(benchmark) in gone[model]
    return lambda model, _: model in gone


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
