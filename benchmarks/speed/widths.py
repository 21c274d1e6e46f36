"""How wide ranges have to be: quantiles of held-out errors by basis, times widths of scopes, as effects are for the speed itself.

What was held out together is one draw: the errors of a device that nobody measured are alike, however many rows it has. A unit's rows
share a weight that grows with the square root of their number, and the range of few units is wider, as that of few draws from a
normal distribution is (`few`).

An engine on a kind of memory that scatters twice as much has twice the width. Widths are those under which errors are likeliest if they
follow a Laplace distribution (its scale is the mean of their sizes), each drawn to 1 by a prior; so few errors say little.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.speed.fitting import Floats
from fmkit.speed.efficiency import SpeedFit, Spread
from fmkit.speed.scopes import width_scopes
from fmkit.speed.setting import Setting

WIDTH_PRIOR = 0.5
"""Standard deviation expected of the logarithm of a scope's width."""
MOST_ERROR = 1.5
"""Errors beyond a factor of 4.5 count as this for widths: the quantiles decide about the tail."""
LEAST_ERROR = 0.005
STEPS = 30
TAIL = 0.1
"""What of the errors lies beyond either end of a range: 80 % lie in it."""
NORMAL = 1.2816
"""Standard deviations of a normal distribution to its ninetieth percentile."""
ENOUGH = 4
"""Units that a scope needs for a width of its own."""
MANY = 20
"""Units that a range of its own can rest on without a look at its neighbour."""
LEAST_RANGE = 1.02


class Error(NamedTuple):
    """Measured over predicted speed as a logarithm, what the prediction rested on, and what was held out together."""

    value: float
    basis: str
    setting: Setting
    unit: str


class Widths(NamedTuple):
    """Ranges by basis and widths by scope, with how many errors each rests on."""

    ranges: dict[str, Spread]
    widths: dict[str, tuple[float, int]]

    def spread(self, basis: str, setting: Setting) -> Spread:
        """The range as the program will state it."""
        fit = SpeedFit(
            date="", rows=0, effects={}, measured={},
            spreads={f"decode {name}": found for name, found in self.ranges.items()},
            widths={f"decode {scope}": width for scope, (width, _) in self.widths.items()},
        )  # fmt: skip
        path = PATH[: PATH.index(basis) + 1] if basis in PATH else (*PATH, basis)
        known = next(rung for rung in reversed(path) if rung in self.ranges)
        return fit.spread("decode", known, setting)


def fitted_widths(errors: Sequence[Error]) -> Widths:
    """The ranges and widths that the errors of one quantity earn."""
    scopes = [width_scopes(error.basis, error.setting) for error in errors]
    points = Counter(scope for found in scopes for scope in found)
    units: dict[str, set[str]] = defaultdict(set)
    for error, found in zip(errors, scopes, strict=True):
        for scope in found:
            units[scope].add(error.unit)
    places = {scope: place for place, scope in enumerate(sorted(name for name in units if len(units[name]) >= ENOUGH))}
    bases = sorted({error.basis for error in errors})
    member = np.zeros((len(errors), len(bases) + len(places)))
    for row, (error, found) in enumerate(zip(errors, scopes, strict=True)):
        member[row, bases.index(error.basis)] = 1.0
        member[row, [len(bases) + places[scope] for scope in found if scope in places]] = 1.0
    values = np.array([error.value for error in errors])
    weights = row_weights([(error.basis, error.unit) for error in errors])
    logs = _likeliest(np.clip(np.abs(values), LEAST_ERROR, MOST_ERROR), member, weights, free=len(bases))
    logs[: len(bases)] = 0.0  # the quantiles are the width of a basis
    scaled = values / np.exp(member @ logs)
    ranges = {}
    for place, basis in enumerate(bases):
        own = member[:, place] == 1.0
        named = [error.unit for error, inside in zip(errors, own, strict=True) if inside]
        ranges[basis] = _range(scaled[own], weights[own], named)
    ranges = nested(ranges, {basis: len({error.unit for error in errors if error.basis == basis}) for basis in bases})
    widths = {scope: (float(np.exp(logs[len(bases) + place])), points[scope]) for scope, place in places.items()}
    return Widths(ranges, widths)


PATH = ("measured-device", "class", "extrapolated", "new-vendor")
"""What the program's predictions rest on, each further from the measured than the one before."""


def nested(ranges: dict[str, Spread], units: dict[str, int]) -> dict[str, Spread]:
    """The ranges with none narrower on either side than that of one that rests on more.

    An engine without measurements is known by how far engines lay from each other, where there were many; by few it is as far as a new
    vendor's devices at least.
    """
    found = dict(ranges)
    for basis in set(ranges) - set(PATH):
        if units[basis] < MANY and PATH[-1] in ranges:
            least = ranges[PATH[-1]]
            own = ranges[basis]
            found[basis] = Spread(low=min(own.low, least.low), high=max(own.high, least.high), points=own.points)
    inner = Spread(low=1.0, high=1.0, points=0)
    for basis in PATH:
        if basis in ranges:
            own = ranges[basis]
            inner = Spread(low=min(own.low, inner.low), high=max(own.high, inner.high), points=own.points)
            found[basis] = inner
    return found


def row_weights(units: Sequence[object]) -> Floats:
    """Weights of rows: all of a unit's together weigh the square root of their number."""
    counts = Counter(units)
    return np.array([counts[unit] ** -0.5 for unit in units])


def few(units: float) -> float:
    """How much wider the range of one more draw is, known from so many, than if the distribution itself were known.

    Student's t at the ninetieth percentile with units - 1 degrees of freedom, times sqrt(1 + 1 / units), over the normal one; the first terms
    of t's expansion (Abramowitz and Stegun 26.7.5).

    >>> round(few(5), 2), round(few(100), 2)
    (1.31, 1.01)
    """
    free = max(units - 1, 2.0)
    z = NORMAL
    student = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return float(student / z * np.sqrt(1 + 1 / max(units, 1.0)))


def _range(scaled: Floats, weights: Floats, units: Sequence[str]) -> Spread:
    total: Counter[str] = Counter()
    for unit, weight in zip(units, weights.tolist(), strict=True):
        total[unit] += weight
    each = np.array(list(total.values()))
    low, middle, high = _quantiles(scaled, weights, (TAIL, 0.5, 1 - TAIL))
    wider = few(float(each.sum() ** 2 / np.sum(each**2)))
    low, high = middle + wider * (low - middle), middle + wider * (high - middle)
    low, high = float(np.exp(low)), float(np.exp(high))
    return Spread(low=min(low, 1 / LEAST_RANGE), high=max(high, LEAST_RANGE), points=len(scaled))


def _quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> list[float]:
    """Weighted quantiles, between the middles of the sorted values' weights."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return [float(found) for found in np.interp(np.array(shares) * weights.sum(), reached, values[order])]


def _likeliest(sizes: Floats, member: Floats, weights: Floats, free: int) -> Floats:
    """Logarithms of the widths by Newton's method on a convex cost; the first `free` have no prior."""
    logs = np.zeros(member.shape[1])
    logs[:free] = np.log(np.average(sizes, weights=weights))
    prior = np.full(len(logs), 1 / WIDTH_PRIOR**2)
    prior[:free] = 1e-6
    for _ in range(STEPS):
        ratio = sizes * np.exp(-member @ logs)
        slope = member.T @ (weights * (1 - ratio)) + prior * logs
        curve = (member * (weights * ratio)[:, None]).T @ member + np.diag(prior)
        step = np.linalg.solve(curve, slope)
        logs = logs - step * min(1.0, 1.0 / max(1e-9, float(np.max(np.abs(step)))))
    return logs
