"""Parameters: every config at hand against the class it names, instantiated here on the meta device, tied tensors once."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.proofs.differences import DOUBTFUL, NOT_EXPLAINED, explanation
from benchmarks.proofs.proof import Aim, Proof, Table
from fmkit.errors import FmkitError
from fmkit.model.architectures import read
from tests.meta_model import instantiate, parameters_by_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
COUNTED_ELSEWHERE = re.compile(r"COUNTED: (?P<count>[\d,]+) by (?P<by>[^;]+)")
ABOUT = (
    "Every config.json of the catalog and of the tests' fixtures, read by fmkit, beside the class that it names, built by transformers "
    "under torch.device('meta'). Where the publisher states another total, the table says why; where transformers has no such class, "
    "the published total is the witness, if there is one."
)


def prove() -> Proof:
    """Count every config twice."""
    cases = tuple(compare(row, config) for row, config in configs())
    states = Counter(case["state"] for case in cases)
    counted = states["exact"] + states["different"] + states["refused"]
    apart = [case for case in cases if case["state"] == "exact" and case["reason"]]
    uncounted = [case for case in cases if case["state"] == "no class"]
    apart += [case for case in uncounted if case["published"] and case["published"] != case["ours"]]
    doubtful = sum(DOUBTFUL in case["reason"] for case in apart)
    open_ = sum(case["ours"] is None or NOT_EXPLAINED in case["reason"] for case in apart)
    published = [case for case in uncounted if case["published"] and case["ours"]]
    aims = (
        Aim("parameters equal to the instantiated model", "all", f"{states['exact']} of {counted}", states["exact"] == counted),
        Aim("published totals that differ from the count", "explained", f"{len(apart)}: {len(apart) - doubtful - open_} explained, {doubtful} "
            f"doubtful figures, {open_} open", not open_),
        Aim("configs that transformers has no class for", "listed", f"{len(uncounted)}, of which {len(published)} have a published "
            f"total, {sum(case['ours'] == case['published'] for case in published)} equal to it"),
    )  # fmt: skip
    return Proof(name="parameters", about=ABOUT, aims=aims, tables=tuple(_tables(cases)), cases=cases)


def configs() -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Each config with its row of the index."""
    for folder in FOLDERS:
        for row in csv.DictReader((folder / "INDEX.csv").read_text("utf-8").splitlines()):
            yield row, json.loads((folder / row["file"]).read_text("utf-8"))


def compare(row: dict[str, str], config: dict[str, Any]) -> dict[str, Any]:
    """What fmkit counts, what the model has, what its publisher says, and the reason where they differ."""
    case: dict[str, Any] = {"hub_id": row["hub_id"], "published": int(row["params_published"] or 0) or None}
    spec: ModelSpec | None = None
    try:
        spec = read(config, where=row["file"])
    except FmkitError as error:
        case["reason"] = error.message
    case["ours"] = None if spec is None else spec.params
    try:
        shapes = parameters_by_name(instantiate(config))
    except Exception as error:  # noqa: BLE001  whatever keeps transformers from building it is the answer
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        reasons = [case.get("reason") or reason, _counted_elsewhere(row, spec), _why_apart(case, spec, config)]
        return {**case, "meta": None, "state": "no class", "reason": "; ".join(filter(None, reasons))}
    case["meta"] = sum(_elements(shape) for shape in shapes.values())
    if spec is None:
        return {**case, "state": "refused"}
    if spec.params != case["meta"]:
        return {**case, "state": "different", "reason": _difference(spec, shapes)}
    return {**case, "state": "exact", "reason": _why_apart(case, spec, config)}


def _counted_elsewhere(row: dict[str, str], spec: ModelSpec | None) -> str:
    """What the index says of a count that was made where more is installed, and whether it is fmkit's."""
    found = COUNTED_ELSEWHERE.search(row["notes"])
    if found is None or spec is None:
        return ""
    equal = int(found["count"].replace(",", "")) == spec.params
    return f"{found['count']} counted by {found['by']}: {'equal' if equal else 'DIFFERENT'}"


def _why_apart(case: dict[str, Any], spec: ModelSpec | None, config: dict[str, Any]) -> str:
    if spec is None or case["published"] in (None, spec.params):
        return ""
    return explanation(case["hub_id"], case["published"], spec, config)


def _elements(shape: tuple[int, ...]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


def _difference(spec: ModelSpec, shapes: dict[str, tuple[int, ...]]) -> str:
    """The tensors that only one side has, by name."""
    theirs = Counter((re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name), shape) for name, shape in shapes.items())
    ours: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for group in spec.tensors:
        if group.part != "buffer":
            ours[group.name, group.shape] += group.count
    words = [f"+{count} {name} {list(shape)}" for (name, shape), count in (ours - theirs).items()]
    words += [f"-{count} {name} {list(shape)}" for (name, shape), count in (theirs - ours).items()]
    return "; ".join(words)


def _tables(cases: tuple[dict[str, Any], ...]) -> Iterator[Table]:
    titles = {
        "different": "Different from the instantiated model",
        "refused": "Refused",
        "no class": "No class in transformers: the published total is the witness",
    }
    columns = ("config", "fmkit", "meta device", "published", "why")
    for state, title in titles.items():
        rows = tuple(_cells(case) for case in cases if case["state"] == state)
        if rows:
            yield Table(title, columns, rows)
    stated = tuple(_cells(case) for case in cases if case["state"] == "exact" and case["reason"])
    if stated:
        yield Table("Exact, while the published total is another", columns, stated)


def _cells(case: dict[str, Any]) -> tuple[str, ...]:
    counts = (f"{case[key]:,}" if case[key] else "-" for key in ("ours", "meta", "published"))
    return (case["hub_id"], *counts, case["reason"])
