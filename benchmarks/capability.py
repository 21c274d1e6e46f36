"""How well missing scores are estimated: python -m benchmarks.capability [--write].

Every score of the catalog that the capability model has constants for is predicted once without it, in three ways
(benchmarks/abilities/validation.py), by the code that ships; the constants are fitted anew without what is held out. Errors are
in points of 100, beside the mean of the family and a line over log parameters. An interval's width is learnt from the other
folds. Last, whole benchmarks are hidden from the fit, and models are put in order by what is left. About ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from msgspec.structs import replace

from benchmarks.abilities.cells import Table, table, vendor_offsets
from benchmarks.abilities.validation import SCHEMES, Held, covered, fit_of, held_out, stem
from fmkit.catalog.load import load_catalog
from fmkit.selection.capability import abilities_in_modes, answering
from fmkit.selection.score_items import Area, item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fmkit.selection.capability import Answering, VendorOffset
    from fmkit.selection.facts import Candidate

RESULT = Path(__file__).resolve().parent / "results" / "capability.json"
LEAST_IN_CLASS = 30
LOW, HIGH = 0.65, 0.95
HIDDEN_LEAST = 30
SIZES = ((3e9, "under 3B"), (15e9, "3B to 15B"), (80e9, "15B to 80B"), (float("inf"), "over 80B"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write the figures to benchmarks/results/{RESULT.name}")
    path = RESULT if parser.parse_args().write else None
    catalog = load_catalog()
    candidates = catalog.candidates()
    offsets = vendor_offsets(candidates)
    tables = [table(area, candidates, offsets) for area in get_args(Area)]
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "catalog": catalog.date,
        "models": sum(len({cell.model for cell in found.cells}) for found in tables),
        "scores": sum(len(found.cells) for found in tables),
        "vendor_offsets": {name or "all others": [o.offset, o.sd, o.pairs] for name, o in offsets.items()},
        "held_out": [],
        "classes": [],
        "hidden_benchmarks": [],
    }
    for found in tables:
        for scheme in SCHEMES:
            held = held_out(found, scheme, offsets)
            within = covered(held)
            result["held_out"].append({"area": found.area, "held_out": scheme, **errors(held, within.values())})
            result["classes"] += classes(held, within, found)
            print_held(result["held_out"][-1])
    print_classes(result["classes"])
    _write(result, path)
    result["hidden_benchmarks"] = [row for found in tables for row in hidden(found, offsets)]
    print_hidden(result["hidden_benchmarks"])
    _write(result, path)


def _write(result: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def errors(held: Sequence[Held], within: Iterable[bool]) -> dict[str, Any]:
    """Median and 90th percentile of absolute errors in points, and the share of scores within their 80 % interval."""
    ours = [abs(row.value - row.actual) for row in held]
    family = [abs(row.family_mean - row.actual) for row in held]
    line = [abs(row.log_parameters - row.actual) for row in held]
    return {
        "scores": len(held),
        "median": _short(ours, 0.5), "p90": _short(ours, 0.9),
        "family_median": _short(family, 0.5), "family_p90": _short(family, 0.9),
        "log_parameters_median": _short(line, 0.5), "log_parameters_p90": _short(line, 0.9),
        "coverage": round(float(np.mean(list(within))), 3),
    }  # fmt: skip


def _short(values: Sequence[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 2)


def classes(held: Sequence[Held], within: dict[int, bool], found: Table) -> list[dict[str, Any]]:
    """Coverage by benchmark, kind, tuning, size and publisher, of classes with LEAST_IN_CLASS scores."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(held):
        for name, of in CLASSES.items():
            groups[name, of(found.candidates[row.model])].append(place)
        groups["benchmark", ", ".join(filter(None, row.item))].append(place)
    return [
        {
            "area": found.area,
            "held_out": held[0].scheme,
            "by": by,
            "class": name,
            "models": len({held[n].model for n in places}),
            "groups_of_kin": len({found.kin[held[n].model] for n in places}),
            **errors([held[n] for n in places], [within[n] for n in places]),
        }
        for (by, name), places in sorted(groups.items())
        if len(places) >= LEAST_IN_CLASS
    ]


def _size(candidate: Candidate) -> str:
    if candidate.params is None:
        return "not known"
    return next(name for most, name in SIZES if candidate.params < most)


CLASSES: dict[str, Callable[[Candidate], str]] = {
    "kind": lambda c: c.spec_kind,
    "tuning": lambda c: "thinks" if c.thinks else c.tuning,
    "size": _size,
    "publisher": lambda c: c.publisher,
}


def hidden(found: Table, offsets: dict[str, VendorOffset]) -> list[dict[str, Any]]:
    """Each benchmark with HIDDEN_LEAST models hidden from the fit: how well what is left puts its models in order.

    The scale of a benchmark that nobody knows can't be known; the order can. Models are ordered by their score on a benchmark of
    mean loadings; Spearman's rank correlation, beside that of log parameters where they are known.
    """
    rows = []
    counts: dict[str, set[str]] = defaultdict(set)
    for cell in found.cells:
        counts[stem(cell.item[0])].add(cell.model)
    for name in sorted(name for name, models in counts.items() if len(models) >= HIDDEN_LEAST):
        rest = [cell for cell in found.cells if stem(cell.item[0]) != name]
        fit = fit_of(found, rest, offsets)
        usual = np.average([item.loadings for item in fit.items], axis=0, weights=[item.scores for item in fit.items])
        able = abilities_in_modes([m for c in found.candidates.values() for m in _without(c, name)], fit)
        for item in [item for item in found.items if stem(item[0]) == name]:
            cells = [c for c in found.cells if c.item == item and able[c.member].scores]
            if len(cells) < HIDDEN_LEAST:
                continue
            sized = [c for c in cells if found.candidates[c.model].params]
            rows.append(
                {
                    "area": found.area,
                    "benchmark": ", ".join(filter(None, item)),
                    "models": len(cells),
                    "rank_correlation": spearman([c.value for c in cells], [float(usual @ able[c.member].mean) for c in cells]),
                    "log_parameters": spearman(
                        [c.value for c in sized], [float(found.candidates[c.model].params or 0) for c in sized]
                    ),
                }
            )  # fmt: skip
    return rows


def _without(candidate: Candidate, name: str) -> list[Answering]:
    return [
        replace(m, scores=tuple(s for s in m.scores if (item := item_of(s)) is None or stem(item[0]) != name))
        for m in answering(candidate)
    ]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of ranks; equal values share the mean of their ranks."""
    return round(float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]), 3)


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = np.sort(values)
    return [(np.searchsorted(ordered, v, "left") + np.searchsorted(ordered, v, "right") - 1) / 2 for v in values]


def print_held(row: dict[str, Any]) -> None:
    print(
        f"{row['area']:9} {row['held_out']:9} held out: {row['scores']} scores; error median {row['median']}, p90 {row['p90']} "
        f"(family mean {row['family_median']}, {row['family_p90']}; log parameters {row['log_parameters_median']}, "
        f"{row['log_parameters_p90']}); coverage {row['coverage']:.1%}",
        flush=True,
    )


def print_classes(rows: Sequence[dict[str, Any]]) -> None:
    for scheme in SCHEMES:
        found = [row for row in rows if row["held_out"] == scheme]
        out = [row for row in found if not LOW <= row["coverage"] <= HIGH]
        said = "; ".join(
            f"{row['by']} {row['class']} ({row['scores']} of {row['models']} models, {row['groups_of_kin']} groups of kin): "
            f"{row['coverage']:.0%}"
            for row in out
        )
        print(f"{scheme}: {len(found) - len(out)} of {len(found)} classes within 65 to 95 %. Outside: {said or 'none'}")


def print_hidden(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"hidden {row['benchmark']}: {row['models']} models, rank correlation {row['rank_correlation']} "
            f"(log parameters {row['log_parameters']})"
        )
    print(f"median rank correlation {median(row['rank_correlation'] for row in rows):.2f} of {len(rows)} benchmarks")


if __name__ == "__main__":
    main()
