"""Held-out errors, and the ranges that they earn: by quantity and by what a prediction rested on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.cases import Case
from benchmarks.speed.fitting import Floats, Problem
from benchmarks.speed.widths import Error, Widths, fitted_widths
from fmkit.speed.efficiency import SpeedFit
from fmkit.speed.kernels import memory_group
from fmkit.speed.parts import Phase, Quantity
from fmkit.speed.setting import Setting

PHASES: tuple[Phase, ...] = ("prefill", "decode")

Key = Callable[[Case], str]


class Scheme(NamedTuple):
    """What is left out together, and in how many folds; None: each alone."""

    key: Key
    folds: int | None


def kind_of(case: Case) -> str:
    """Vendor and kind of memory: devices that have much in common."""
    return f"{case.device.vendor} {memory_group(case.device)}"


SCHEMES = {
    "model and device": Scheme(lambda case: case.group, 16),
    "device": Scheme(lambda case: case.device.id, 16),
    "engine": Scheme(lambda case: case.setting.engine, 8),
    "kind of device": Scheme(kind_of, None),
    "vendor": Scheme(lambda case: case.device.vendor, None),
}
"""The last two are judged nowhere: they tell how far predictions lie off for a kind of device, or a vendor, that nobody measured."""

JUDGED = ("model and device", "device", "engine")

STRICTER = {"shape and device": Scheme(lambda case: case.shape_group, 16)}
"""Told beside "model and device": models of one shape (a base and what is tuned from it, Llama 3 and 3.1) are as fast as each other, and
one tells what the other takes."""

BASES = ("measured-device", "class", "extrapolated", "new-vendor")
"""What the program's predictions rest on, from the narrowest to the widest."""

UNSEEN_ENGINE = "unseen engine"
"""What a prediction of an engine without any measurement would rest on: the program makes none, and its ranges don't count their errors."""

NO_PREDICTION = ""
"""The basis where nothing could be predicted: on a processor, by an engine that nobody measured on one."""

REFUSED = (UNSEEN_ENGINE, NO_PREDICTION)
"""Bases on which the program prints no speed (`fmkit.speed.timing.timing_on`)."""


class HeldOut(NamedTuple):
    """Predictions for cases that the fit did not see: measured over predicted speed as logarithms, and what each rested on.

    `reading` is the share of the predicted seconds that goes into prompts, `bases` what prompts and steps rest on.
    """

    scheme: str
    cases: Sequence[Case]
    error: Floats
    reading: Floats
    bases: list[dict[Phase, str]]
    fold: NDArray[np.intp]

    def predicted(self) -> NDArray[np.bool_]:
        """Which cases have a prediction and a range, those of an engine without any measurement among them."""
        return np.array([found["decode"] != NO_PREDICTION for found in self.bases])

    def printed(self) -> NDArray[np.bool_]:
        """Which cases the program would have predicted."""
        return np.array([found["decode"] not in REFUSED for found in self.bases])


def held_out(problem: Problem, scheme: str, start: Floats) -> HeldOut:
    """Every case predicted by a fit without its group, device, engine or kind of device."""
    key, folds = (SCHEMES | STRICTER)[scheme]
    predicted, reading, fold = problem.held_out(key, folds or len({key(case) for case in problem.cases}), start)
    bases: list[dict[Phase, str]] = [{}] * len(problem.cases)
    for number in np.unique(fold):
        seen = frozenset[str]().union(*(problem.measured[place] for place in np.flatnonzero(fold != number)))
        fit = SpeedFit(date="", rows=0, effects={}, measured=dict.fromkeys(seen, 1), spreads={})
        for place in np.flatnonzero(fold == number):
            setting = problem.cases[place].setting
            bases[place] = {phase: _basis(setting, phase, fit) for phase in PHASES}
    return HeldOut(scheme, problem.cases, predicted - problem.target, reading, bases, fold)


def phase_of(case: Case) -> Phase:
    """The phase that a case says something of: a batch whose prompts were read in decode steps is decoding."""
    return "prefill" if case.rate == "prefill" else "decode"


def _basis(setting: Setting, phase: Phase, fit: SpeedFit) -> str:
    """The basis as the program states it, of what it does not predict too."""
    if not fit.reaches(setting):
        return NO_PREDICTION
    return fit.rung(setting, phase) if fit.knows(setting.engine) else UNSEEN_ENGINE


def widths_of(found: Sequence[HeldOut], wanted: Callable[[Case], bool] = lambda _: True) -> dict[Quantity, Widths]:
    """Ranges and widths of prompts and steps by the held-out errors of all schemes."""
    errors: dict[Phase, list[Error]] = {phase: [] for phase in PHASES}
    for one in found:
        key = SCHEMES[one.scheme].key
        for case, value, reading, bases in zip(one.cases, one.error, one.reading, one.bases, strict=True):
            if (case.rate == "throughput" and reading > 0) or not wanted(case):
                continue  # a whole batch of prompts and steps says nothing of either alone
            phase = phase_of(case)
            if bases[phase] != NO_PREDICTION:
                errors[phase].append(Error(float(value), bases[phase], case.setting, f"{one.scheme} {key(case)}"))
    return {phase: fitted_widths(some) for phase, some in errors.items()}


def range_of(one: HeldOut, place: int, known: dict[Quantity, Widths]) -> tuple[float, float]:
    """The range of a case's speed over its prediction, as the program states it: of a whole batch, prompts and steps each at their end."""
    case, bases = one.cases[place], one.bases[place]
    share = {"prefill": 1.0, "decode": 0.0, "throughput": float(one.reading[place])}[case.rate]
    read, step = (known[phase].spread(bases[phase], case.setting) for phase in PHASES)
    return 1 / (share / read.low + (1 - share) / step.low), 1 / (share / read.high + (1 - share) / step.high)


def covered(one: HeldOut, found: Sequence[HeldOut]) -> NDArray[np.bool_]:
    """Whether each measured speed lies in its range, by spreads learnt from the cases of all other folds, in every scheme."""
    inside = np.zeros(len(one.cases), dtype=np.bool_)
    predicted = one.predicted()
    for number in sorted(set(one.fold.tolist())):
        judged = np.flatnonzero((one.fold == number) & predicted)
        own = {id(one.cases[place]) for place in judged.tolist()}
        known = widths_of(found, lambda case, own=own: id(case) not in own)  # type: ignore[misc]  # bound in the loop
        for place in judged.tolist():
            low, high = range_of(one, place, known)
            inside[place] = np.log(low) <= one.error[place] <= np.log(high)
    return inside
