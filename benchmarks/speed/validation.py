"""Held-out errors, and the ranges that they earn: by quantity and by what a prediction rested on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.cases import Case
from benchmarks.speed.fitting import Floats, Problem
from benchmarks.speed.widths import Error, Widths, fitted_widths
from fmkit.speed.efficiency import Phase, Quantity, measured_like, measured_on

SCHEMES: dict[str, tuple[Callable[[Case], str], int]] = {
    "model and device": (lambda case: case.group, 16),
    "device": (lambda case: case.device.id, 16),
    "engine": (lambda case: case.setting.engine, 8),
}
"""What is left out together, and in how many folds."""

BASES = ("measured-device", "class", "extrapolated")
"""What the program's predictions rest on, from the narrowest to the widest."""

UNSEEN_ENGINE = "unseen engine"
"""What a prediction of an engine without any measurement rests on: the program makes none, and its ranges don't count their errors."""


class HeldOut(NamedTuple):
    """Predictions for cases that the fit did not see: measured over predicted speed as logarithms, and what each rested on."""

    scheme: str
    cases: Sequence[Case]
    error: Floats
    basis: list[str]
    fold: NDArray[np.intp]


def held_out(problem: Problem, scheme: str, start: Floats) -> HeldOut:
    """Every case predicted by a fit without its group, device or engine."""
    key, folds = SCHEMES[scheme]
    predicted, fold = problem.held_out(key, folds, start)
    basis = ["extrapolated"] * len(problem.cases)
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
            found |= {(phase, measured_on(setting)), (phase, measured_like(setting)), (phase, setting.engine)}
    return found


def _basis(case: Case, seen: set[tuple[str, ...]]) -> str:
    phase, setting = phase_of(case), case.setting
    if (phase, measured_on(setting)) in seen:
        return "measured-device"
    if (phase, setting.engine) not in seen:
        return UNSEEN_ENGINE
    return "class" if (phase, measured_like(setting)) in seen else "extrapolated"


def widths_of(found: Sequence[HeldOut], wanted: Callable[[Case], bool] = lambda _: True) -> dict[Quantity, Widths]:
    """Ranges and widths of each quantity by the held-out errors of all schemes."""
    errors: dict[Quantity, list[Error]] = {"decode": [], "prefill": [], "throughput": []}
    for one in found:
        for case, value, basis in zip(one.cases, one.error, one.basis, strict=True):
            if wanted(case):
                errors[case.rate].append(Error(float(value), basis, case.setting))
    return {quantity: fitted_widths(some) for quantity, some in errors.items()}
