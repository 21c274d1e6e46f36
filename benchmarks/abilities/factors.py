"""The fit: factors, loadings, errors, coefficients and covariances by expectation-maximisation over families.

The E-step is exact: the abilities of one family are jointly normal. Priors keep what few scores say near what many say:
loadings near the mean loading of the first factor, errors near the common error, coefficients near 0.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fmkit.selection.capability import Item, Prior

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.abilities.cells import Cell, ItemKey, Table
    from fmkit.selection.covariates import Key

Floats = npt.NDArray[np.float64]

ROUNDS = 60
LOADING_PRIOR = 6.0
"""The loadings of an item start as if this many models had been seen with the mean loading."""
ERROR_PRIOR = 6.0
"""The same for its error and the common one."""
RIDGE = 2.0
"""What holds coefficients of covariates near 0: 4 and 1 predicted models whose kin were held out worse, or their classes less evenly."""
LEAST_SD = 0.05


class Fit:
    """The fitted constants of one area, and what they were fitted to."""

    def __init__(self, table: Table, factors: int, cells: Sequence[Cell]) -> None:
        self.table = table
        self.factors = factors
        self._cells = cells
        self._item_index = {item: n for n, item in enumerate(table.items)}
        self._models = sorted({cell.member for cell in cells}, key=str)
        self._names, self._centres, self._sds, self._design = _design(table, self._models)
        self._missing = [tuple(name not in table.covariates[m] for name in self._names) for m in self._models]
        self._by_family = _by_family(table, cells)
        self.scores = np.bincount([self._item_index[c.item] for c in cells], minlength=len(table.items))
        self._rows = {
            model: (
                np.array([self._item_index[cell.item] for cell in rows]),
                np.array([cell.value for cell in rows]),
                np.array([cell.extra_sd**2 for cell in rows]),
            )
            for members in self._by_family.values()
            for model, rows in members.items()
        }
        self._columns = _by_item(cells, self._item_index)
        self._start()
        for _ in range(ROUNDS):
            self._round()

    def _start(self) -> None:
        count, k = len(self.table.items), self.factors
        values: dict[ItemKey, list[float]] = defaultdict(list)
        for cell in self._cells:
            values[cell.item].append(cell.value)
        every = [cell.value for cell in self._cells]
        self.mean = np.array([np.mean(values.get(item) or every) for item in self.table.items])
        random = np.random.default_rng(7)
        self.loadings = random.normal(0.0, 0.1, (count, k))
        self.loadings[:, 0] = 0.8
        self.variance = np.full(count, 0.25)
        self.coefficients = np.zeros((self._design.shape[1], k))
        self.family = np.eye(k) * 0.5
        self.own = np.eye(k) * 0.5

    def _round(self) -> None:
        means, covariances, families = self._expect()
        self._maximise_prior(means, families)
        self._maximise_items(means, covariances)

    def _expect(self) -> tuple[dict[Key, Floats], dict[Key, Floats], list[tuple[Floats, Floats, list[Key]]]]:
        """Posterior mean and covariance of every ability, and by family of (shared, own...) deviations."""
        k = self.factors
        means, covariances, families = {}, {}, []
        shared_inverse = np.linalg.inv(self.family)
        own_inverses = {pattern: np.linalg.inv(self.own + self._not_known(pattern)) for pattern in set(self._missing)}
        expected = self._design @ self.coefficients
        place = {model: n for n, model in enumerate(self._models)}
        for members in self._by_family.values():
            names = list(members)
            size = k * (len(names) + 1)
            precision, pull = np.zeros((size, size)), np.zeros(size)
            precision[:k, :k] = shared_inverse
            for n, name in enumerate(names, start=1):
                rows, values, extra = self._rows[name]
                loadings = self.loadings[rows]
                weight = 1 / (self.variance[rows] + extra)
                gap = values - self.mean[rows] - loadings @ expected[place[name]]
                evidence, push = (loadings.T * weight) @ loadings, (loadings.T * weight) @ gap
                own_inverse = own_inverses[self._missing[place[name]]]
                own = slice(k * n, k * n + k)
                precision[:k, :k] += evidence
                precision[:k, own] += evidence
                precision[own, :k] += evidence
                precision[own, own] += evidence + own_inverse
                pull[:k] += push
                pull[own] += push
            covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
            deviation = covariance @ pull
            families.append((deviation, covariance, names))
            for n, name in enumerate(names, start=1):
                own = slice(k * n, k * n + k)
                means[name] = expected[place[name]] + deviation[:k] + deviation[own]
                cross = covariance[:k, own]
                covariances[name] = covariance[:k, :k] + covariance[own, own] + cross + cross.T
        return means, covariances, families

    def _not_known(self, missing: tuple[bool, ...]) -> Floats:
        """What covariates that are not known of a model add to the covariance of its own part."""
        rows = self.coefficients[list(missing)] * self._sds[list(missing)][:, None]
        found: Floats = rows.T @ rows
        return found

    def _maximise_prior(self, means: dict[Key, Floats], families: list[tuple[Floats, Floats, list[Key]]]) -> None:
        k = self.factors
        shared, own = np.eye(k) * 0.2, np.eye(k) * 0.2
        place = {model: n for n, model in enumerate(self._models)}
        gains = {p: self.own @ np.linalg.inv(self.own + self._not_known(p)) for p in set(self._missing)}
        for deviation, covariance, names in families:
            shared += np.outer(deviation[:k], deviation[:k]) + covariance[:k, :k]
            for n in range(1, len(names) + 1):
                part = slice(k * n, k * n + k)
                # of the deviation, what is the model's own and not its unknown covariates'
                gain = gains[self._missing[place[names[n - 1]]]]
                second = np.outer(deviation[part], deviation[part]) + covariance[part, part]
                own += gain @ second @ gain.T + self.own - gain @ self.own
        self.family = shared / (len(families) + 1)
        self.own = own / (len(self._models) + 1)
        # generalised least squares with one family one block: deviations of kin are no independent evidence
        width = self._design.shape[1]
        left, right = np.eye(width) * RIDGE / len(self._models), np.zeros((width, k))
        ratio = float(np.trace(self.family) / np.trace(self.own))
        for _, _, names in families:
            rows = [place[name] for name in names]
            design = self._design[rows]
            block = np.eye(len(rows)) - np.full((len(rows), len(rows)), ratio / (1 + ratio * len(rows)))
            target = np.array([means[name] for name in names])
            left += design.T @ block @ design / len(self._models)
            right += design.T @ block @ target / len(self._models)
        self.coefficients = np.asarray(np.linalg.solve(left, right), dtype=np.float64)

    def _maximise_items(self, means: dict[Key, Floats], covariances: dict[Key, Floats]) -> None:
        k = self.factors
        usual = np.zeros(k)
        usual[0] = np.average(self.loadings[:, 0], weights=self.scores + 1e-9)
        common = float(np.average(self.variance, weights=self.scores + 1e-9))
        for item, (models, values, extra) in self._columns.items():
            weight = self.variance[item] / (self.variance[item] + extra)
            one = np.column_stack([np.ones(len(models)), [means[model] for model in models]])
            uncertain = np.array([covariances[model] for model in models])
            second = (one.T * weight) @ one
            second[1:, 1:] += np.tensordot(weight, uncertain, axes=1)
            pull = (one.T * weight) @ values
            keep = np.diag([0.0, *[LOADING_PRIOR] * k]) * self.variance[item]
            solution = np.linalg.solve(second + keep, pull + keep @ np.array([0.0, *usual]))
            self.mean[item], self.loadings[item] = solution[0], solution[1:]
            gaps = values - one @ solution
            spread = np.einsum("i,nij,j->n", solution[1:], uncertain, solution[1:])
            total = float(np.sum(weight * (gaps**2 + spread)))
            self.variance[item] = max((total + ERROR_PRIOR * common) / (len(models) + ERROR_PRIOR), LEAST_SD**2)

    def prior(self) -> Prior:
        """What is expected of a model before its scores, as shipped."""
        return Prior(
            centres=self._centres,
            sds={name: round(float(sd), 4) for name, sd in zip(self._names, self._sds, strict=True)},
            coefficients={name: _rounded(row) for name, row in zip(self._names, self.coefficients, strict=True)},
            family_covariance=tuple(_rounded(row) for row in self.family),
            own_covariance=tuple(_rounded(row) for row in self.own),
        )

    def items(self) -> tuple[Item, ...]:
        """The items that had a score in the fit, as shipped."""
        return tuple(
            Item(
                area=self.table.area,
                benchmark=item[0],
                variant=item[1],
                mean=round(float(self.mean[n]), 4),
                sd=round(float(np.sqrt(self.variance[n])), 4),
                scores=int(self.scores[n]),
                loadings=_rounded(self.loadings[n]),
            )
            for n, item in enumerate(self.table.items)
            if self.scores[n]
        )


def _rounded(row: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in row)


def _design(table: Table, models: Sequence[Key]) -> tuple[list[str], dict[str, float], Floats, Floats]:
    """Names, means and standard deviations of covariates, and a row for each model less the means; 0 where unknown."""
    names = sorted({name for model in models for name in table.covariates[model]})
    known: Callable[[str], list[float]] = lambda name: [  # noqa: E731
        table.covariates[m][name] for m in models if name in table.covariates[m]
    ]
    centres = {name: round(float(np.mean(known(name))), 4) for name in names}
    rows = [[table.covariates[m].get(name, centres[name]) - centres[name] for name in names] for m in models]
    return names, centres, np.array([np.std(known(name)) for name in names]), np.array(rows)


def _by_family(table: Table, cells: Sequence[Cell]) -> dict[str, dict[Key, list[Cell]]]:
    found: dict[str, dict[Key, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        found[table.candidates[cell.model].family][cell.member].append(cell)
    return found


def _by_item(cells: Sequence[Cell], index: dict[ItemKey, int]) -> dict[int, tuple[list[Key], Floats, Floats]]:
    """Models, values and variances of reports by item."""
    found: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[index[cell.item]].append(cell)
    return {
        item: ([c.member for c in rows], np.array([c.value for c in rows]), np.array([c.extra_sd**2 for c in rows]))
        for item, rows in found.items()
    }
