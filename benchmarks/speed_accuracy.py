"""Speed as fmkit predicts it, held against published measurements that the prediction did not see.

    python -m benchmarks.speed_accuracy [--write]

The shipped measurements are predicted three times: by fits without the row's model on its device, without its device, without its
engine. Ranges are judged by spreads learnt on the other folds, of the same kind of hold-out: a device that nobody measured by errors on
devices that were held out. What the program refuses to predict then is counted as not predicted, and is in no figure: an engine on a processor
that nobody measured it on, and an engine without any measurement. So nothing is printed of an engine that was left out; its errors and the
coverage of the range it would have had are shown as not printed, for they are why it is refused. Beside the classes outside of 65 to 95 %
stands how many would be if every interval were exact (benchmarks/coverage.py).

Beside them, on the same rows (decoding, batch 1, one device): a plain c0 + bytes/(e BW) line per engine, and the formulas of llmfit,
whichllm and canirun. `--write` keeps the result in benchmarks/results/speed_accuracy.json. Takes about four minutes on one core.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.speed.cases import Case, cases_of, shipped_rows
from benchmarks.speed.cost import costs
from benchmarks.speed.exclusions import split
from benchmarks.speed.fitting import Problem
from benchmarks.speed.tables import against_peers, each_device, expected_outside, grouped, show
from benchmarks.speed.validation import JUDGED, SCHEMES, STRICTER, covered, held_out
from fmkit.catalog.load import load_catalog
from fmkit.catalog.measurements import LatencyMeasurement

RESULT = Path(__file__).parent / "results" / "speed_accuracy.json"


def main(arguments: list[str]) -> None:
    catalog = load_catalog()
    rows = shipped_rows()
    every, unread = cases_of(rows, catalog)
    cases, excluded = split(every)
    result = judged(Problem(cases)) | {"scored": scored_shares(rows, cases), "cost": costs(catalog)}
    show_result(result)
    if "--write" in arguments:
        left_out = [
            {"kind": kind, "reason": reason, "rows": count}
            for (kind, reason), count in sorted((unread + excluded).items())
        ]
        write({"date": catalog.speed.date, "rows": len(cases), **result, "left_out": left_out})


def judged(problem: Problem) -> dict[str, Any]:
    """Errors, coverage and classes outside of all that is judged."""
    start = problem.fit(np.ones(len(problem.cases), dtype=bool))
    found = [held_out(problem, scheme, start) for scheme in SCHEMES]
    every = {one.scheme: (one, covered(one, found)) for one in found if one.scheme in JUDGED}
    stricter = [held_out(problem, scheme, start) for scheme in STRICTER]
    printed = {scheme: pair for scheme, pair in every.items() if pair[0].printed().any()}
    unseen, inside = every["device"]
    return {
        "interval_coverage": round(float(np.mean(np.concatenate([held[one.printed()] for one, held in printed.values()]))), 3),
        "not_predicted": {scheme: int(np.sum(~one.printed())) for scheme, (one, _) in every.items()},
        "classes_if_exact": {scheme: expected_outside(*pair) for scheme, pair in printed.items()},
        "groups": [group for pair in every.values() for group in grouped(*pair)],
        "stricter": [group for one in stricter for group in grouped(one, covered(one, found)) if group.by == "all"],
        "devices": each_device(unseen, inside),
        "peers": against_peers(problem, unseen),
    }  # fmt: skip


def scored_shares(rows: Sequence[LatencyMeasurement], cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """How many of the trusted rows of each kind are scored."""
    trusted = Counter(row.measures for row in rows if row.trust in ("A", "B"))
    scored = Counter(measures for measures, _ in {(case.row.measures, case.row.measurement_id) for case in cases})
    return {
        kind: {"rows": count, "scored": scored[kind], "share": round(scored[kind] / count, 3)}
        for kind, count in trusted.items()
    }


def show_result(result: dict[str, Any]) -> None:
    for table in ("groups", "stricter", "devices", "peers"):
        show(result[table])
    for scheme, found in result["classes_if_exact"].items():
        print(f"{scheme} left out: {found.told()}")
    for kind, share in result["scored"].items():
        print(f"{kind:16s} {share['scored']} of {share['rows']} rows of trust A and B scored ({share['share']:.0%})")
    print(f"{result['interval_coverage']:.1%} of all figures that are printed lie in their range")
    for one in result["cost"]:
        print(
            f"predicting {one.models} models on {one.device} at {one.precision}: {one.all_ms:.0f} ms of processor time, "
            f"median {one.median_ms:.2f} ms, most {one.most_ms:.2f} ms"
        )


def write(result: dict[str, Any]) -> None:
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    print(f"written to {RESULT.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
