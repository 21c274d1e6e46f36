"""Errors and coverage of groups of rows, as the proof of speed shows them: by engine, device class, kernel, device, and beside other rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage import Yardstick, yardstick
from benchmarks.speed.baselines import FORMULAS, comparable, plain_line
from benchmarks.speed.cases import Case
from benchmarks.speed.fitting import Floats, Problem
from benchmarks.speed.validation import SCHEMES, HeldOut

Flags = NDArray[np.bool_]

LEAST_ROWS = 10
"""Groups with fewer rows are left out of the tables."""

BY: dict[str, Callable[[Case], str]] = {
    "all": lambda case: case.rate,
    "engine": lambda case: f"{case.rate}, {case.setting.engine}",
    "device class": lambda case: f"{case.rate}, {case.device.device_class}",
    "kernel": lambda case: f"{case.rate}, {case.setting.kernel}",
    "mixture": lambda case: f"{case.rate}, {'mixture' if case.setting.mixture else 'dense'}",
    "serving": lambda case: "serving, saturated" if case.saturated else "",
}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one group of rows; an error is predicted over measured, less one, without its sign.

    `printed` is whether the program predicts such rows; where it refuses, the figures say what it would have been off by.
    """

    left_out: str
    by: str
    group: str
    printed: bool
    rows: int
    median_error: float
    p90_error: float
    within_30_percent: float
    interval_coverage: float | None


def grouped(one: HeldOut, covered: Flags) -> Iterable[Group]:
    """Errors by every division in BY: of what the program prints, of a scheme in which it prints nothing of what it refuses."""
    error, printed = np.abs(np.exp(-one.error) - 1), bool(one.printed().any())
    shown = one.printed() if printed else one.predicted()
    for by, key in BY.items():
        names = np.array([key(case) for case in one.cases])
        for name in sorted(set(names) - {""}):
            chosen = (names == name) & shown
            if chosen.sum() >= LEAST_ROWS:
                inside = float(np.mean(covered[chosen]))
                yield summary(one.scheme, by, str(name), error[chosen], inside, printed=printed)


def expected_outside(one: HeldOut, covered: Flags) -> Yardstick:
    """The classes outside of what is printed, and how many would be with exact intervals: what was held out together is a group."""
    places = np.flatnonzero(one.printed())
    cases = [one.cases[place] for place in places.tolist()]
    classes: dict[str, list[int]] = defaultdict(list)
    for row, case in enumerate(cases):
        for by, key in BY.items():
            if name := key(case):
                classes[f"{by} {name}"].append(row)
    return yardstick([SCHEMES[one.scheme].key(case) for case in cases], covered[places], classes)


def each_device(one: HeldOut, covered: Flags) -> list[Group]:
    """Errors on each device that the fit did not see, and over the devices: the median of their medians, each counted once."""
    error, printed = np.abs(np.exp(-one.error) - 1), one.printed()
    found = []
    for rate in ("decode", "prefill", "throughput"):
        names = np.array([case.device.id if case.rate == rate else "" for case in one.cases])
        each = []
        for name in sorted(set(names[printed]) - {""}):
            chosen = (names == name) & printed
            each.append(
                summary(one.scheme, "device", f"{rate}, {name}", error[chosen], float(np.mean(covered[chosen])))
            )
        medians = np.array([group.median_error for group in each])
        inside = float(np.mean([group.interval_coverage or 0.0 for group in each]))
        found += [*each, summary(one.scheme, "every device once", rate, medians, inside)]
    return found


def against_peers(problem: Problem, unseen_device: HeldOut) -> list[Group]:
    """Decoding of one sequence on one device: ours on devices the fit did not see, a line fitted to the same rows, and formulas."""
    places = [place for place, case in enumerate(problem.cases) if comparable(case)]
    cases = [problem.cases[place] for place in places]
    measured = np.array([1 / case.seconds for case in cases])
    fold = unseen_device.fold[places]
    line = np.zeros(len(cases))
    for number in sorted(set(fold.tolist())):
        out = fold == number
        line[out] = plain_line(cases, ~out)[out]
    found: dict[str, Floats] = {
        "fmkit, device not seen": measured * np.exp(-unseen_device.error[places]),
        "c0 + bytes/(e BW) per engine, device not seen": 1 / line,
        **{name: np.array([formula(case) for case in cases]) for name, formula in FORMULAS.items()},
    }
    return [
        summary("device", "decode at batch 1", name, np.abs(predicted / measured - 1), None)
        for name, predicted in found.items()
    ]


def summary(left_out: str, by: str, group: str, error: Floats, covered: float | None, *, printed: bool = True) -> Group:
    """The figures of one group."""
    return Group(
        left_out=left_out,
        by=by,
        group=group,
        printed=printed,
        rows=len(error),
        median_error=round(float(np.median(error)), 3),
        p90_error=round(float(np.quantile(error, 0.9)), 3),
        within_30_percent=round(float(np.mean(error <= 0.3)), 3),
        interval_coverage=None if covered is None else round(covered, 3),
    )


def show(groups: list[Group]) -> None:
    print(f"{'left out':17s} {'group':48s} {'rows':>5s} {'median':>7s} {'p90':>7s} {'in 30%':>7s} {'in range':>8s}")
    for one in groups:
        inside = "" if one.interval_coverage is None else f"{one.interval_coverage:8.0%}"
        print(
            f"{one.left_out:17s} {one.group:48s} {one.rows:5d} {one.median_error:7.1%} {one.p90_error:7.1%}"
            f" {one.within_30_percent:7.0%} {inside}{'' if one.printed else ' not printed'}"
        )
    print()
