"""How well missing scores are estimated: python -m benchmarks.capability [--write].

Every score of the catalog that the capability model has constants for is predicted once without it, in three ways
(benchmarks/abilities/validation.py), by the code that ships; the constants are fitted anew without what is held out. Errors are
in points of 100, beside the mean of the family and a line over log parameters. An interval's width is learnt from the other
folds. Last, whole benchmarks are hidden from the fit (benchmarks/abilities/unseen.py): models are put in order by what is left,
and their scores are predicted from the benchmark's kind alone, and from the scores of a few anchor models. About ten minutes on one core.
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

from benchmarks.abilities.benchmark_facts import kind
from benchmarks.abilities.cells import Table, table, vendor_offsets
from benchmarks.abilities.unseen import ANCHORS, DRAWS, Guess, Hidden, guesses, hidden, within
from benchmarks.abilities.validation import SCHEMES, Held, covered, held_out
from fmkit.catalog.load import load_catalog
from fmkit.selection.score_items import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from benchmarks.abilities.cells import ItemKey
    from fmkit.selection.capability import VendorOffset
    from fmkit.selection.facts import Candidate

RESULT = Path(__file__).resolve().parent / "results" / "capability.json"
LEAST_IN_CLASS = 30
LOW, HIGH = 0.65, 0.95
KNOWN = {
    "0 anchors": "no score of the benchmark in any set-up; its kind, and all other scores of all models",
    "k anchors": "as well the scores of k models on it, drawn at random; the others are predicted, over all draws",
    "family": "mean of the anchors of the family, else of all anchors; without anchors of the family's scores on benchmarks of the kind",
    "log_parameters": "line with the slope within the benchmarks of the kind, and the level of the anchors; without anchors of the kind",
}
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
        "classes_outside": [],
        "hidden": {"known": KNOWN, "regimes": [], "benchmarks": []},
    }
    for found in tables:
        for scheme in SCHEMES:
            held = held_out(found, scheme, offsets)
            inside = covered(held)
            result["held_out"].append({"area": found.area, "held_out": scheme, **errors(held, inside.values())})
            result["classes"] += classes(held, inside, found)
            print_held(result["held_out"][-1])
    result["classes_outside"] = [row for row in result["classes"] if not LOW <= row["coverage"] <= HIGH]
    print_classes(result["classes"], result["classes_outside"])
    _write(result, path)
    for found in tables:
        regimes, benchmarks = unseen(found, offsets)
        result["hidden"]["regimes"] += regimes
        result["hidden"]["benchmarks"] += benchmarks
    print_hidden(result["hidden"])
    _write(result, path)


def _write(result: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def errors(held: Sequence[Held | Guess], inside: Iterable[bool]) -> dict[str, Any]:
    """Median and 90th percentile of absolute errors in points, and the share of scores within their 80 % interval."""
    ours = [abs(row.value - row.actual) for row in held]
    family = [abs(row.family_mean - row.actual) for row in held]
    line = [abs(row.log_parameters - row.actual) for row in held]
    return {
        "scores": len(held),
        "median": _short(ours, 0.5), "p90": _short(ours, 0.9),
        "family_median": _short(family, 0.5), "family_p90": _short(family, 0.9),
        "log_parameters_median": _short(line, 0.5), "log_parameters_p90": _short(line, 0.9),
        "coverage": round(float(np.mean(list(inside))), 3),
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


def unseen(found: Table, offsets: dict[str, VendorOffset]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Errors by number of anchors over all hidden benchmarks, and each benchmark by itself."""
    every: list[Guess] = []
    orders: dict[ItemKey, dict[str, Any]] = {}
    for one in hidden(found, offsets):
        orders[one.item] = order(one, found)
        every += guesses(one, found)
    if not every:
        return [], []
    inside = within(every)
    regimes = [
        {"area": found.area, "anchors": count, "draws": DRAWS if count else 1, "benchmarks": len(orders)}
        | _errors_where(every, inside, count, set(orders))
        for count in ANCHORS
    ]
    benchmarks = [
        {"area": found.area, "benchmark": ", ".join(filter(None, item)), "kind": kind(item[0]), **said}
        | {f"anchors_{count}": _errors_where(every, inside, count, {item}) for count in ANCHORS}
        for item, said in orders.items()
    ]
    return regimes, benchmarks


def _errors_where(
    rows: Sequence[Guess], inside: Sequence[bool], anchors: int, items: Collection[ItemKey]
) -> dict[str, Any]:
    places = [n for n, row in enumerate(rows) if row.anchors == anchors and row.item in items]
    return errors([rows[n] for n in places], [inside[n] for n in places])


def order(one: Hidden, found: Table) -> dict[str, Any]:
    """How well what is left puts the models of a hidden benchmark in order: rank correlations, with no anchor.

    Models are ordered by their expected score on a benchmark of mean loadings; beside it by log parameters, of those models whose
    parameters are known.
    """
    usual = np.average(
        [item.loadings for item in one.fit.items], axis=0, weights=[item.scores for item in one.fit.items]
    )
    sized = [c for c in one.cells if found.candidates[c.model].params]
    return {
        "models": len(one.cells),
        "rank_correlation": spearman(
            [c.value for c in one.cells], [float(usual @ one.abilities[c.member].mean) for c in one.cells]
        ),
        "log_parameters_rank_correlation": spearman(
            [c.value for c in sized], [float(found.candidates[c.model].params or 0) for c in sized]
        ),
    }


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


def print_classes(rows: Sequence[dict[str, Any]], outside: Sequence[dict[str, Any]]) -> None:
    print(
        f"{len(rows) - len(outside)} of {len(rows)} classes within 65 to 95 %; outside:" + ("" if outside else " none")
    )
    for row in outside:
        print(
            f"  {row['area']} {row['held_out']} held out, {row['by']} {row['class']}: {row['coverage']:.0%} of {row['scores']} scores "
            f"({row['models']} models, {row['groups_of_kin']} groups of kin)"
        )


def print_hidden(found: dict[str, Any]) -> None:
    for row in found["benchmarks"]:
        said = "; ".join(
            f"{count} anchors {row[f'anchors_{count}']['median']}, {row[f'anchors_{count}']['p90']}"
            for count in ANCHORS
        )
        print(
            f"hidden {row['benchmark']}: {row['models']} models, rank correlation {row['rank_correlation']} "
            f"(log parameters {row['log_parameters_rank_correlation']}); error median, p90: {said}"
        )
    for row in found["regimes"]:
        print(
            f"{row['area']:9} {row['benchmarks']} hidden benchmarks, {row['anchors']} anchors: error median {row['median']}, "
            f"p90 {row['p90']} (family mean {row['family_median']}, {row['family_p90']}; log parameters "
            f"{row['log_parameters_median']}, {row['log_parameters_p90']}); coverage {row['coverage']:.1%}"
        )
    ranks = [row["rank_correlation"] for row in found["benchmarks"]]
    print(f"median rank correlation {median(ranks):.2f} of {len(ranks)} benchmarks")


if __name__ == "__main__":
    main()
