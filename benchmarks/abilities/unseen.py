"""Benchmarks that the capability model has never seen: what can be said of them, and how wrong it is.

The whole benchmark is hidden from the fit, with its other set-ups and whatever asks or shares the same questions. Then its scores are
predicted in two regimes:

no anchors   Nothing of it is known but its kind (benchmarks.csv): its level and loadings are those of the other benchmarks of the kind.
k anchors    The scores of k models drawn at random are known as well; level and loadings are learnt from them, starting from the kind.
             All other models are predicted; ten draws.

The peers know the same. Mean of the family: of the anchors in the family, of all anchors where none is; without anchors, of the family's
scores on other benchmarks of the kind. Line over log parameters: its slope is that of the kind's benchmarks, its level the anchors'.
Where no other benchmark of the kind is known, all stand in. MTEB's mean can't be hidden: nothing of embedders is left without its parts.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from benchmarks.abilities.benchmark_facts import hidden_with, kind, questions
from benchmarks.abilities.hiding import left
from benchmarks.abilities.predictions import Prediction
from benchmarks.abilities.widths import spread_of
from fmkit.selection.capability import INTERVAL_Z
from fmkit.selection.logits import from_logit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.abilities.cells import Cell, ItemKey, Table
    from fmkit.selection.capability import Ability, CapabilityFit, Item
    from fmkit.selection.covariates import Key

Floats = npt.NDArray[np.float64]

ANCHORS = (0, 5, 10)
DRAWS = 10
LEAST_MODELS = 25
"""A benchmark with fewer models has too few to learn from and to predict."""
KIND_PRIOR = 0.25
"""The level and loadings of a kind start as if a quarter of a benchmark of it had been as all benchmarks are.

Chosen on the hidden benchmarks that are reported, as the best for embedders, so that these figures are a little too good. Much more draws
a kind of one benchmark away from it; much less leaves nothing for the scatter within kinds.
"""


class Guess(Prediction, frozen=True, kw_only=True):
    """One score of a hidden benchmark, and what was predicted from the scores of `anchors` models on it."""

    anchors: int
    questions: str


class Hidden(NamedTuple):
    """A benchmark in one set-up that was hidden: the scores on it, and the abilities of their models without it."""

    item: ItemKey
    cells: tuple[Cell, ...]
    known: tuple[Cell, ...]
    abilities: dict[Key, Ability]
    fit: CapabilityFit


def hidden(table: Table) -> Iterator[Hidden]:
    """Each benchmark that LEAST_MODELS models with other scores were tried on."""
    models: dict[str, set[str]] = defaultdict(set)
    for cell in table.cells:
        models[questions(cell.item[0])].add(cell.model)
    for name in sorted(name for name, found in models.items() if len(found) >= LEAST_MODELS):
        rest = left(table, _asks(name))
        if rest is None:
            continue
        for item in (item for item in table.items if questions(item[0]) == name):
            cells = tuple(c for c in rest.hidden if c.item == item and rest.abilities[c.member].scores)
            if len(cells) >= LEAST_MODELS:
                yield Hidden(item, cells, rest.known, rest.abilities, rest.fit)


def _asks(name: str) -> Callable[[str, str], bool]:
    gone = hidden_with(name)
    return lambda _, benchmark: questions(benchmark) in gone


def guesses(found: Hidden, table: Table) -> list[Guess]:
    """Every score of a hidden benchmark without anchors, and in each draw of anchors that it is not among."""
    rows = []
    for count in ANCHORS:
        for draw in range(DRAWS if count else 1):
            random = np.random.default_rng([crc32(" ".join(found.item).encode()), count, draw])
            chosen = set(random.choice(len(found.cells), count, replace=False))
            anchors = [cell for n, cell in enumerate(found.cells) if n in chosen]
            unseen = Unseen.of(found, anchors)
            simple = _Simple(found, table, anchors)
            for cell in (cell for n, cell in enumerate(found.cells) if n not in chosen):
                centre, sd = unseen.predictive(found.abilities[cell.member])
                rows.append(
                    Guess(
                        anchors=count,
                        questions=questions(found.item[0]),
                        item=found.item,
                        actual=100 * from_logit(cell.value),
                        centre=centre,
                        sd=sd,
                        family_mean=simple.family_mean(cell),
                        log_parameters=simple.line(cell),
                    )
                )
    return rows


class Unseen(NamedTuple):
    """What is known of a benchmark that was not fitted: (mean, *loadings) as a normal distribution, and the error that abilities leave."""

    expected: Floats
    covariance: Floats
    sd: float

    @classmethod
    def of(cls, found: Hidden, anchors: Iterable[Cell]) -> Unseen:
        """What its kind says, then what the anchors say: a linear regression on abilities, with the kind as its prior."""
        unseen = cls.of_kind(found.fit.items, kind(found.item[0]))
        precision = np.linalg.inv(unseen.covariance)
        pull = precision @ unseen.expected
        for cell in anchors:
            ability = found.abilities[cell.member]
            one = np.array([1.0, *ability.mean])
            loadings = unseen.expected[1:]
            noise = unseen.sd**2 + cell.extra_sd**2 + loadings @ np.array(ability.covariance) @ loadings
            precision = precision + np.outer(one, one) / noise
            pull = pull + one * cell.value / noise
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        return cls(covariance @ pull, covariance, unseen.sd)

    @classmethod
    def of_kind(cls, items: Sequence[Item], name: str) -> Unseen:
        """The mean over the benchmarks of a kind, drawn towards the mean over all, with the scatter within kinds; of an unknown kind those of all."""
        every = np.array([(item.mean, *item.loadings) for item in items])
        middle = every.mean(axis=0)
        of = np.array([kind(item.benchmark) for item in items])
        means = {
            one: (every[of == one].sum(axis=0) + KIND_PRIOR * middle) / ((of == one).sum() + KIND_PRIOR) for one in of
        }
        # a kind that nothing is known of scatters about the middle as all benchmarks do
        gaps = every - (np.array([means[one] for one in of]) if name in means else middle)
        scatter = gaps.T @ gaps / (len(every) - 1) + np.eye(every.shape[1]) * 1e-3
        return cls(means.get(name, middle), scatter, float(np.sqrt(np.mean([item.sd**2 for item in items]))))

    def predictive(self, ability: Ability) -> tuple[float, float]:
        """Mean and standard deviation of a model's score on the logit scale; that benchmark and ability are uncertain both counts."""
        one, covariance = np.array([1.0, *ability.mean]), np.array(ability.covariance)
        loadings = self.expected[1:]
        variance = (
            one @ self.covariance @ one
            + loadings @ covariance @ loadings
            + np.trace(self.covariance[1:, 1:] @ covariance)
            + self.sd**2
        )
        return float(self.expected @ one), float(np.sqrt(variance))


class _Simple:
    """What anybody could say of a hidden benchmark from the same anchors and the same other benchmarks, in points."""

    def __init__(self, found: Hidden, table: Table, anchors: Sequence[Cell]) -> None:
        self._table = table
        of = kind(found.item[0])
        known = [cell for cell in found.known if kind(cell.item[0]) == of] or list(found.known)
        slope, level, size = self._kind_line(known)
        sized = [cell for cell in anchors if self._size(cell) is not None]
        self._families: dict[str, list[float]] = defaultdict(list)
        for cell in anchors or known:
            self._families[self._family(cell)].append(_points(cell))
        self._mean = fmean(_points(cell) for cell in anchors or known)
        self._slope = slope
        self._level = fmean(_points(cell) for cell in sized) if sized else self._mean if anchors else level
        self._middle = fmean(self._size(cell) or 0.0 for cell in sized) if sized else size

    def family_mean(self, cell: Cell) -> float:
        """The mean of the family, of all where nothing of the family is known."""
        return fmean(self._families.get(self._family(cell)) or [self._mean])

    def line(self, cell: Cell) -> float:
        """The line over log parameters; the mean where they are not known."""
        size = self._size(cell)
        return self._mean if size is None else min(max(self._level + self._slope * (size - self._middle), 0.0), 100.0)

    def _kind_line(self, known: Sequence[Cell]) -> tuple[float, float, float]:
        """Slope within the benchmarks of a kind, and the mean score and size that it goes through."""
        items: dict[ItemKey, list[tuple[float, float]]] = defaultdict(list)
        for cell in known:
            size = self._size(cell)
            if size is not None:
                items[cell.item].append((size, _points(cell)))
        centred = [np.array(rows) - np.mean(rows, axis=0) for rows in items.values()]
        sizes, points = np.concatenate(centred).T
        middle = np.mean(np.concatenate([np.array(rows) for rows in items.values()]), axis=0)
        return float(sizes @ points / (sizes @ sizes)), float(middle[1]), float(middle[0])

    def _family(self, cell: Cell) -> str:
        return self._table.candidates[cell.model].family

    def _size(self, cell: Cell) -> float | None:
        return self._table.covariates[cell.member].get("log10 parameters")


def _points(cell: Cell) -> float:
    return 100 * from_logit(cell.value)


def within(rows: Sequence[Guess]) -> list[bool]:
    """Whether each score lay in its 80 % interval, whose width was learnt from the other benchmarks in the same regime."""
    spreads = {
        (name, count): spread_of(
            [row.z for row in rows if row.questions not in hidden_with(name) and row.anchors == count]
        )
        for name in {row.questions for row in rows}
        for count in ANCHORS
    }
    return [abs(row.z) <= INTERVAL_Z * spreads[row.questions, row.anchors] for row in rows]
