"""How wide ranges have to be: quantiles of held-out errors by basis, times widths of scopes, as effects are for the speed itself.

An engine on a kind of memory that scatters twice as much has twice the width. Widths are those under which errors are likeliest if they
follow a Laplace distribution (its scale is the mean of their sizes), each drawn to 1 by a prior; so few errors say little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.speed.fitting import Floats
from fmkit.speed.efficiency import Setting, SpeedFit, Spread, width_scopes

WIDTH_PRIOR = 0.5
"""Standard deviation expected of the logarithm of a scope's width."""
MOST_ERROR = 1.5
"""Errors beyond a factor of 4.5 count as this for widths: the quantiles decide about the tail."""
LEAST_ERROR = 0.005
STEPS = 30
QUANTILES = {
    "measured-device": (0.09, 0.91),
    "class": (0.02, 0.98),
    "extrapolated": (0.03, 0.97),
    "unseen engine": (0.03, 0.97),
}
"""What of the held-out errors a range spans: 80 % on a measured device; more on others, for a new device lies further from the
measured ones than these from each other."""
ENOUGH = 30
LEAST_RANGE = 1.02


class Error(NamedTuple):
    """Measured over predicted speed as a logarithm, and what the prediction rested on."""

    value: float
    basis: str
    setting: Setting


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
        return fit.spread("decode", basis, setting)


def fitted_widths(errors: Sequence[Error]) -> Widths:
    """The ranges and widths that the errors of one quantity earn."""
    scopes = [width_scopes(error.basis, error.setting) for error in errors]
    points = Counter(scope for found in scopes for scope in found)
    places = {
        scope: place for place, scope in enumerate(sorted(name for name, count in points.items() if count >= ENOUGH))
    }
    bases = sorted({error.basis for error in errors})
    member = np.zeros((len(errors), len(bases) + len(places)))
    for row, (error, found) in enumerate(zip(errors, scopes, strict=True)):
        member[row, bases.index(error.basis)] = 1.0
        member[row, [len(bases) + places[scope] for scope in found if scope in places]] = 1.0
    values = np.array([error.value for error in errors])
    logs = _likeliest(np.clip(np.abs(values), LEAST_ERROR, MOST_ERROR), member, free=len(bases))
    logs[: len(bases)] = 0.0  # the quantiles are the width of a basis
    scaled = values / np.exp(member @ logs)
    ranges = {basis: _range(scaled[member[:, place] == 1.0], QUANTILES[basis]) for place, basis in enumerate(bases)}
    widths = {scope: (float(np.exp(logs[len(bases) + place])), points[scope]) for scope, place in places.items()}
    return Widths(ranges, widths)


def _range(scaled: Floats, quantiles: tuple[float, float]) -> Spread:
    low, high = (float(np.exp(edge)) for edge in np.quantile(scaled, quantiles))
    return Spread(low=min(low, 1 / LEAST_RANGE), high=max(high, LEAST_RANGE), points=len(scaled))


def _likeliest(sizes: Floats, member: Floats, free: int) -> Floats:
    """Logarithms of the widths by Newton's method on a convex cost; the first `free` have no prior."""
    logs = np.zeros(member.shape[1])
    logs[:free] = np.log(np.mean(sizes))
    prior = np.full(len(logs), 1 / WIDTH_PRIOR**2)
    prior[:free] = 1e-6
    for _ in range(STEPS):
        ratio = sizes * np.exp(-member @ logs)
        slope = member.T @ (1 - ratio) + prior * logs
        curve = (member * ratio[:, None]).T @ member + np.diag(prior)
        step = np.linalg.solve(curve, slope)
        logs = logs - step * min(1.0, 1.0 / max(1e-9, float(np.max(np.abs(step)))))
    return logs
