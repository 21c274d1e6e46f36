"""Fit the speed model to the shipped measurements and write catalog/speed/: python -m benchmarks.fit_speed [DATE].

Takes about four minutes on one core: one fit of all cases, and held-out fits for the ranges. The same measurements give the same files.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.speed.cases import cases_of, shipped_rows
from benchmarks.speed.exclusions import split
from benchmarks.speed.fitting import Floats, Problem
from benchmarks.speed.validation import BASES, SCHEMES, held_out, widths_of
from benchmarks.speed.widths import Widths
from fmkit.catalog.load import load_catalog
from fmkit.catalog.paths import source_folder
from fmkit.catalog.speed import measurements_digest
from fmkit.speed.efficiency import Spread
from fmkit.speed.parts import Quantity

FOLDER = Path(__file__).resolve().parent.parent / "catalog" / "speed"
LEAST_EFFECT = 0.005
"""Effects below half a percent are not worth a line, but for scopes that say that something was measured."""


STATED: tuple[Quantity, ...] = ("decode", "prefill")
"""The quantities whose ranges estimates state; a whole batch is made of both."""


def main(arguments: list[str]) -> None:
    date = arguments[0] if arguments else datetime.now(UTC).date().isoformat()
    catalog = load_catalog()
    every, unread = cases_of(shipped_rows(), catalog)
    cases, excluded = split(every)
    problem = Problem(cases)
    effects = problem.fit(np.ones(len(cases), dtype=bool))
    found = [held_out(problem, scheme, effects) for scheme in SCHEMES]
    FOLDER.mkdir(exist_ok=True)
    write_effects(problem, effects)
    write_spreads(widths_of(found))
    write_head(date, len(cases), unread + excluded)


def write_effects(problem: Problem, effects: Floats) -> None:
    with (FOLDER / "effects.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("phase", "part", "scope", "effect", "points"))
        for (phase, part, scope), effect in sorted(zip(problem.keys, effects, strict=True)):
            if abs(effect) >= LEAST_EFFECT or part in ("weights", "linear"):
                writer.writerow((phase, part, scope, f"{effect:.4f}", problem.points[phase, part, scope]))


def write_spreads(found: dict[Quantity, Widths]) -> None:
    """The ranges; none is narrower than that of a narrower basis, and a basis that never came up has that of the next wider one."""
    with (FOLDER / "spreads.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("quantity", "basis", "scope", "low", "high", "width", "points"))
        for quantity in STATED:
            widths = found[quantity]
            wider = Spread(low=0.3, high=3.0, points=0)
            for basis in reversed(BASES):  # from the widest to the narrowest
                wider = widths.ranges.get(basis, wider)
                writer.writerow((quantity, basis, "", f"{wider.low:.3f}", f"{wider.high:.3f}", 1, wider.points))
            for scope, (width, points) in sorted(widths.widths.items()):
                basis_name, _, name = scope.partition(", ")
                if basis_name not in BASES:
                    continue
                writer.writerow((quantity, basis_name, name, "", "", f"{width:.3f}", points))


def write_head(date: str, rows: int, left_out: Counter[tuple[str, str]]) -> None:
    lines = [
        "# Written by python -m benchmarks.fit_speed; do not edit.",
        f'date: "{date}"',
        f"rows: {rows}",
        f'measurements: "{measurements_digest(source_folder())}"',
        "script: benchmarks/fit_speed.py",
        "source: catalog/measurements/latency.csv, own_cpu.csv and own_gpu.csv, each row with its own source",
        "left_out:",
    ]
    lines += [f'  "{kind}: {reason}": {count}' for (kind, reason), count in sorted(left_out.items())]
    (FOLDER / "fit.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
