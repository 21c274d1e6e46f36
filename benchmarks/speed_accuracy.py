"""Speed as fmkit predicts it, held against published measurements that the prediction did not see.

    python -m benchmarks.speed_accuracy [--write]

The shipped measurements are predicted three times: by fits without the row's model on its device, without its device, without its
engine. Ranges are judged by spreads learnt on the other folds, of the same kind of hold-out: a device that nobody measured by errors on
devices that were held out. Figures that the program would not predict then (an engine on a processor that nobody measured it on) are
counted apart. Beside them, on the same rows (decoding, batch 1, one
device): a plain c0 + bytes/(e BW) line per engine, and the formulas of llmfit, whichllm and canirun. `--write` keeps the result in
benchmarks/results/speed_accuracy.json. Takes about four minutes on one core.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.baselines import FORMULAS, comparable, plain_line
from benchmarks.speed.cases import Case, cases_of, shipped_rows
from benchmarks.speed.cost import costs
from benchmarks.speed.exclusions import split
from benchmarks.speed.fitting import Floats, Problem
from benchmarks.speed.validation import JUDGED, SCHEMES, HeldOut, held_out, range_of, widths_of
from fmkit.catalog.load import load_catalog

RESULT = Path(__file__).parent / "results" / "speed_accuracy.json"
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
    """Errors of one group of rows; an error is predicted over measured, less one, without its sign."""

    left_out: str
    by: str
    group: str
    rows: int
    median_error: float
    p90_error: float
    within_30_percent: float
    interval_coverage: float | None


def main(arguments: list[str]) -> None:
    catalog = load_catalog()
    rows = shipped_rows()
    every, unread = cases_of(rows, catalog)
    cases, excluded = split(every)
    problem = Problem(cases)
    start = problem.fit(np.ones(len(cases), dtype=bool))
    found = [held_out(problem, scheme, start) for scheme in SCHEMES]
    judged = [one for one in found if one.scheme in JUDGED]
    covered = {one.scheme: coverage(one, found) for one in judged}
    overall = np.mean(np.concatenate([covered[one.scheme][one.predicted()] for one in judged]))
    groups = [group for one in judged for group in grouped(one, covered[one.scheme])]
    unseen = next(one for one in judged if one.scheme == "device")
    devices = each_device(unseen, covered[unseen.scheme])
    peers = against_peers(problem, unseen)
    show(groups)
    show(devices)
    show(peers)
    trusted = Counter(row.measures for row in rows if row.trust in ("A", "B"))
    scored = Counter(measures for measures, _ in {(case.row.measures, case.row.measurement_id) for case in cases})
    shares = {
        kind: {"rows": count, "scored": scored[kind], "share": round(scored[kind] / count, 3)}
        for kind, count in trusted.items()
    }
    for kind, share in shares.items():
        print(f"{kind:16s} {share['scored']} of {share['rows']} rows of trust A and B scored ({share['share']:.0%})")
    print(f"{overall:.1%} of all figures lie in their range")
    spent = costs(catalog)
    for one in spent:
        print(
            f"predicting {one.models} models on {one.device} at {one.precision}: {one.all_ms:.0f} ms of processor time, "
            f"median {one.median_ms:.2f} ms, most {one.most_ms:.2f} ms"
        )
    if "--write" in arguments:
        left_out = [
            {"kind": kind, "reason": reason, "rows": count}
            for (kind, reason), count in sorted((unread + excluded).items())
        ]
        write(
            {
                "date": catalog.speed.date,
                "rows": len(cases),
                "interval_coverage": round(float(overall), 3),
                "not_predicted": {one.scheme: int(np.sum(~one.predicted())) for one in judged},
                "groups": groups,
                "devices": devices,
                "peers": peers,
                "scored": shares,
                "left_out": left_out,
                "cost": spent,
            }
        )


def coverage(one: HeldOut, found: list[HeldOut]) -> Flags:
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


def grouped(one: HeldOut, covered: Flags) -> Iterable[Group]:
    """Errors by every division in BY."""
    error = np.abs(np.exp(-one.error) - 1)
    for by, key in BY.items():
        names = np.array([key(case) for case in one.cases])
        for name in sorted(set(names) - {""}):
            chosen = (names == name) & one.predicted()
            if chosen.sum() >= LEAST_ROWS:
                yield summary(one.scheme, by, str(name), error[chosen], float(np.mean(covered[chosen])))


def each_device(one: HeldOut, covered: Flags) -> list[Group]:
    """Errors on each device that the fit did not see, and over the devices: the median of their medians, each counted once."""
    error, predicted = np.abs(np.exp(-one.error) - 1), one.predicted()
    found = []
    for rate in ("decode", "prefill", "throughput"):
        names = np.array([case.device.id if case.rate == rate else "" for case in one.cases])
        each = []
        for name in sorted(set(names[predicted]) - {""}):
            chosen = (names == name) & predicted
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


def summary(left_out: str, by: str, group: str, error: Floats, covered: float | None) -> Group:
    """The figures of one group."""
    return Group(
        left_out=left_out,
        by=by,
        group=group,
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
            f" {one.within_30_percent:7.0%} {inside}"
        )
    print()


def write(result: dict[str, Any]) -> None:
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    print(f"written to {RESULT.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
