"""The fit: effects of scopes on the parts of a pass, found by damped Gauss-Newton steps on the logarithm of the seconds measured.

Every effect has a normal prior around zero, wide for wide scopes and narrow for narrow ones: a scope with few measurements stays near
what it has in common with others. Errors count by a Student-t likelihood, so that a row that is ten times off moves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.cases import Case
from benchmarks.speed.priors import centre, width
from fmkit.speed.operations import TowerPass
from fmkit.speed.parts import OVERLAP_POWER, PARTS, Part, Phase, nominal
from fmkit.speed.scopes import scopes
from fmkit.speed.setting import Setting, launch_overlaps

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Key = tuple[Phase, Part, str]

NOISE = 0.12
"""Scale of the errors (in the logarithm of seconds) that the Student-t likelihood of 4 degrees of freedom has."""
DEGREES = 4.0
LEAST_POINTS = 2
"""A scope narrower than an engine needs as many measurements."""
MOST_STEPS = 20

MOST_REACHED = 0.05
"""No device reaches more than exp(-0.05) = 95 % of its nominal rates; a fit beyond that is pulled back with a width of `BEYOND`."""
BEYOND = 0.02


class Problem:
    """Cases as arrays: nominal seconds of each part of each pass, and which effects act on them."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = list(cases)
        acting = [set(_keys(case)) for case in cases]
        self.points = Counter(key for keys in acting for key in keys)
        self.measured = [frozenset(f"{phase} {scope}" for phase, _, scope in keys) for keys in acting]
        self.keys: dict[Key, int] = {}
        times: list[list[float]] = []
        weights: list[float] = []
        owner: list[int] = []
        overlaps: list[bool] = []
        decoding: list[bool] = []
        reached: set[tuple[int, ...]] = set()
        cells: list[int] = []
        effects: list[int] = []
        for number, case in enumerate(cases):
            for phase, tower, share in _passes(case):
                found = nominal(tower, case.setting, phase)
                row = [getattr(found, part) or 0.0 for part in PARTS]
                for column, part in enumerate(PARTS):
                    kept = [key for key in _keys_of(case.setting, phase, part) if row[column] > 0 and self._counts(key)]
                    cells += [len(times) * len(PARTS) + column] * len(kept)
                    numbers = [self.keys.setdefault(key, len(self.keys)) for key in kept]
                    effects += numbers
                    if part in ("weights", "linear") and numbers:
                        reached.add(tuple(numbers))
                times.append(row)
                weights.append(share)
                owner.append(number)
                overlaps.append(launch_overlaps(case.setting))
                decoding.append(phase == "decode")
        self.times, self.share, self.owner = np.array(times), np.array(weights), np.array(owner)
        self.cells, self.effects = np.array(cells), np.array(effects)
        self.overlaps, self.decoding = np.array(overlaps), np.array(decoding)
        self.blocks = self._blocks()
        self.reached = np.zeros((len(reached), len(self.keys)))
        for line, together in enumerate(sorted(reached)):
            self.reached[line, list(together)] = 1.0
        self.target = np.log([case.seconds for case in cases])
        self.host_s = np.array([case.host_s for case in cases])
        self.centre = np.array([centre(phase, part) if scope == "all" else 0.0 for phase, part, scope in self.keys])
        self.width = np.array([width(scope) for _, _, scope in self.keys])
        replicates = Counter(_replicate(case) for case in cases)
        self.weight = np.array([min(1.0, 2 / replicates[_replicate(case)] ** 0.5) for case in cases])

    def _blocks(self) -> list[tuple[Ints, Ints]]:
        """Cases of each engine and the effects that act on them: engines share no more than the effects of `all`."""
        case_of_cell = self.owner[self.cells // len(PARTS)]
        found = []
        for engine in sorted({case.setting.engine for case in self.cases}):
            own = np.array([case.setting.engine == engine for case in self.cases])
            found.append((np.flatnonzero(own), np.unique(self.effects[own[case_of_cell]])))
        return found

    def _counts(self, key: Key) -> bool:
        narrow = "," in key[2] or " on " in key[2]
        return not narrow or self.points[key] >= LEAST_POINTS

    def predict(self, effects: Floats) -> tuple[Floats, Floats]:
        """Seconds of each case, and of each pass the share of each part in its growth (derivative by the logarithm of the part)."""
        seconds, growth = self._passes_s(effects)
        return self._of_cases(self.share * seconds) + self.host_s, growth

    def reading_share(self, effects: Floats) -> Floats:
        """The share of each case's seconds that goes into its prompts."""
        spent = self.share * self._passes_s(effects)[0]
        read: Floats = self._of_cases(np.where(self.decoding, 0.0, spent)) / (self._of_cases(spent) + self.host_s)
        return read

    def _of_cases(self, passes: Floats) -> Floats:
        found: Floats = np.bincount(self.owner, weights=passes, minlength=len(self.cases)).astype(np.float64)
        return found

    def _passes_s(self, effects: Floats) -> tuple[Floats, Floats]:
        """Seconds and growth of each pass."""
        sums = np.bincount(self.cells, weights=effects[self.effects], minlength=self.times.size)
        parts = self.times * np.exp(sums.reshape(self.times.shape))
        beside = np.stack(
            [
                parts[:, 1] + parts[:, 2] + np.where(self.decoding, parts[:, 4], 0.0),
                parts[:, 3] + np.where(self.decoding, 0.0, parts[:, 4]),
                np.where(self.overlaps, parts[:, 0], 0.0),
            ],
            axis=1,
        )
        beside = np.maximum(beside, 1e-15)
        core = (beside**OVERLAP_POWER).sum(axis=1) ** (1 / OVERLAP_POWER)
        seconds = core + parts[:, 5:].sum(axis=1) + np.where(self.overlaps, 0.0, parts[:, 0])
        slope = (beside / core[:, None]) ** (OVERLAP_POWER - 1)
        growth = parts * np.column_stack(
            [
                np.where(self.overlaps, slope[:, 2], 1.0),
                slope[:, 0],
                slope[:, 0],
                slope[:, 1],
                np.where(self.decoding, slope[:, 0], slope[:, 1]),
                *([np.ones(len(core))] * (len(PARTS) - 5)),
            ]
        )
        return seconds, growth

    def fit(self, used: NDArray[np.bool_], start: Floats | None = None, steps: int = MOST_STEPS) -> Floats:
        """The effects that fit the used cases best, under their priors."""
        effects = self.centre.copy() if start is None else start.copy()
        cost = self._cost(effects, used)
        for _ in range(steps):
            step = self._step(effects, used)
            for halving in range(6):
                tried = effects + step / 2**halving
                lower = self._cost(tried, used)
                if lower < cost:
                    break
            else:
                return effects
            gained, effects, cost = cost - lower, tried, lower
            if gained < 0.05:
                break
        return effects

    def _cost(self, effects: Floats, used: NDArray[np.bool_]) -> float:
        error = (self.target - np.log(self.predict(effects)[0]))[used] / NOISE
        misfit = (DEGREES + 1) * np.sum(self.weight[used] * np.log1p(error**2 / DEGREES))
        beyond = np.maximum(0.0, MOST_REACHED - self.reached @ effects) / BEYOND
        return float(misfit + np.sum(((effects - self.centre) / self.width) ** 2) + np.sum(beyond**2))

    def _step(self, effects: Floats, used: NDArray[np.bool_]) -> Floats:
        seconds, growth = self.predict(effects)
        slopes = (self.share[:, None] * growth / seconds[self.owner][:, None]).reshape(-1)
        places = self.owner[self.cells // len(PARTS)] * len(effects) + self.effects
        shape = (len(self.cases), len(effects))
        jacobian = np.bincount(places, weights=slopes[self.cells], minlength=shape[0] * shape[1]).reshape(shape)
        error = self.target - np.log(seconds)
        trust = used * self.weight * (DEGREES + 1) / (DEGREES + (error / NOISE) ** 2) / NOISE**2
        normal = np.diag(1 / self.width**2)
        for rows, columns in self.blocks:
            block = jacobian[np.ix_(rows, columns)]
            normal[np.ix_(columns, columns)] += (block * trust[rows][:, None]).T @ block
        slope = jacobian.T @ (trust * error) - (effects - self.centre) / self.width**2
        beyond = MOST_REACHED - self.reached @ effects
        active = self.reached[beyond > 0] / BEYOND
        normal += active.T @ active
        slope += active.T @ (beyond[beyond > 0] / BEYOND)
        found: Floats = np.linalg.solve(normal + 1e-3 * np.diag(np.diag(normal)), slope)
        return found

    def held_out(self, key: Callable[[Case], Hashable], folds: int, start: Floats) -> tuple[Floats, Floats, Ints]:
        """Logarithm of the seconds predicted for each case by a fit that saw no case of the same key, the share of prompts, each case's fold."""
        names = sorted({str(key(case)) for case in self.cases})
        order = np.random.default_rng(0).permutation(len(names))
        fold_of = {names[place]: number % folds for number, place in enumerate(order)}
        fold = np.array([fold_of[str(key(case))] for case in self.cases])
        predicted, reading = np.zeros(len(self.cases)), np.zeros(len(self.cases))
        for number in range(folds):
            out = fold == number
            effects = self.without_unseen(self.fit(~out, start, steps=7), ~out)
            predicted[out] = np.log(self.predict(effects)[0][out])
            reading[out] = self.reading_share(effects)[out]
        return predicted, reading, fold

    def without_unseen(self, effects: Floats, used: NDArray[np.bool_]) -> Floats:
        """The effects, with those of scopes that no used case is in at their prior's centre: they know nothing."""
        seen = np.zeros(len(effects), dtype=bool)
        seen[self.effects[used[self.owner[self.cells // len(PARTS)]]]] = True
        return np.where(seen, effects, self.centre)


def _passes(case: Case) -> list[tuple[Phase, TowerPass, float]]:
    found: list[tuple[Phase, TowerPass, float]] = [("prefill", tower, case.read_share) for tower in case.reads]
    if case.step is not None and case.steps:
        found.append(("decode", case.step, case.steps))
        if case.step.expansion is not None:
            found.append(("prefill", case.step.expansion, case.steps))
    return found


def _keys_of(setting: Setting, phase: Phase, part: Part) -> list[Key]:
    return [(phase, part, scope) for scope in scopes(setting, phase, part)]


def _keys(case: Case) -> list[Key]:
    phases = {phase for phase, _, _ in _passes(case)}
    return [key for phase in phases for part in PARTS for key in _keys_of(case.setting, phase, part)]


def _replicate(case: Case) -> tuple[str, str, str, str]:
    """Rows of one model, device, engine and packing: many of them say little more than one."""
    return (case.group, case.setting.engine, case.row.quant, case.rate)
