"""Held-out errors, and the ranges that they earn: by quantity and by what a prediction rested on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.cases import Case
from benchmarks.speed.fitting import Floats, Problem
from fmkit.speed.efficiency import Phase, spread_names
from fmkit.speed.estimate import SpeedBasis
from fmkit.speed.kernels import memory_group

SCHEMES: dict[str, tuple[Callable[[Case], str], int]] = {
    "model and device": (lambda case: case.group, 8),
    "device": (lambda case: case.device.id, 8),
    "engine": (lambda case: case.setting.engine, 8),
}
"""What is left out together, and in how many folds."""

ENOUGH = 30
ENOUGH_DEVICES = {True: 2, False: 3}
"""Measurements, and devices among them (on a measured device, on others), from which on a basis or an engine has ranges of its own."""
QUANTILES = {True: (0.09, 0.91), False: (0.05, 0.95)}
"""What of the held-out errors a range spans: 80 % on a measured device; more on others, for a new device lies further from the
measured ones than these from each other."""
BASES: tuple[SpeedBasis, ...] = ("measured-device", "class", "extrapolated")


class HeldOut(NamedTuple):
    """Predictions for cases that the fit did not see: measured over predicted speed as logarithms, and what each rested on."""

    scheme: str
    cases: Sequence[Case]
    error: Floats
    basis: list[SpeedBasis]
    fold: NDArray[np.intp]


def held_out(problem: Problem, scheme: str, start: Floats) -> HeldOut:
    """Every case predicted by a fit without its group, device or engine."""
    key, folds = SCHEMES[scheme]
    predicted, fold = problem.held_out(key, folds, start)
    basis: list[SpeedBasis] = ["extrapolated"] * len(problem.cases)
    for number in range(folds):
        seen = _seen(case for case, own in zip(problem.cases, fold, strict=True) if own != number)
        for place in np.flatnonzero(fold == number):
            basis[place] = _basis(problem.cases[place], seen)
    return HeldOut(scheme, problem.cases, predicted - problem.target, basis, fold)


def phase_of(case: Case) -> Phase:
    """The phase whose measurements decide the basis."""
    return "prefill" if case.rate == "prefill" else "decode"


def _seen(cases: Iterable[Case]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for case in cases:
        setting = case.setting
        phases: tuple[Phase, ...] = ("prefill", "decode") if case.rate == "throughput" else (phase_of(case),)
        for phase in phases:
            found.add((phase, setting.engine, setting.device.id, setting.kernel))
            found.add((phase, setting.engine, memory_group(setting.device), setting.kernel))
    return found


def _basis(case: Case, seen: set[tuple[str, ...]]) -> SpeedBasis:
    phase, setting = phase_of(case), case.setting
    if (phase, setting.engine, setting.device.id, setting.kernel) in seen:
        return "measured-device"
    return "class" if (phase, setting.engine, memory_group(setting.device), setting.kernel) in seen else "extrapolated"


def spreads(
    found: Sequence[HeldOut], wanted: Callable[[Case, int], bool] = lambda _, __: True
) -> dict[str, tuple[float, float, int]]:
    """Factors between which most of the measured speeds lay, by `spread_names`, where there are enough."""
    errors: dict[str, list[float]] = {}
    devices: dict[str, set[str]] = {}
    for one in found:
        for case, error, basis, fold in zip(one.cases, one.error, one.basis, one.fold, strict=True):
            if not wanted(case, int(fold)):
                continue
            names = spread_names(case.rate, basis, case.setting.engine, mixture=case.setting.mixture)
            if basis == "extrapolated":  # an engine's own share of it says how strange the engine is, not the case
                names = names[-1:]
            for name in names:
                errors.setdefault(name, []).append(float(error))
                devices.setdefault(name, set()).add(case.device.id)
    ranges: dict[str, tuple[float, float, int]] = {}
    for name, values in errors.items():
        measured = " measured-device" in name
        if len(values) >= ENOUGH and len(devices[name]) >= ENOUGH_DEVICES[measured]:
            edges = np.quantile(values, QUANTILES[measured])
            low, high = (float(np.exp(edge)) for edge in edges)
            ranges[name] = (min(low, 0.98), max(high, 1.02), len(values))
    return ranges


def range_for(known: dict[str, tuple[float, float, int]], case: Case, basis: SpeedBasis) -> tuple[float, float]:
    """The range of a case: its engine's own, else that of its basis, else that of the next wider one."""
    own = spread_names(case.rate, basis, case.setting.engine, mixture=case.setting.mixture)
    for name in (*own, *(f"{case.rate} {one}" for one in BASES[BASES.index(basis) + 1 :])):
        if name in known:
            return known[name][:2]
    return (0.3, 3.0)
