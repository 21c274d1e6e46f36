"""The shipped capability constants: of the catalog's own scores, read strictly, and proved by the committed benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from benchmarks.abilities.benchmark_facts import kind
from fmkit.catalog.capability import constants_digest, read_capability, scores_digest
from fmkit.catalog.checks import fits
from fmkit.catalog.checks.facts import Facts
from fmkit.catalog.faults import Fault
from fmkit.catalog.links import link
from fmkit.catalog.load import load_catalog
from fmkit.catalog.paths import source_folder
from fmkit.catalog.schema import ScoreRow
from fmkit.catalog.sources import read_sources
from fmkit.selection.abilities import abilities
from fmkit.selection.capability import BASES, NO_FIT, CapabilityFit, widths_key
from fmkit.selection.estimated_scores import item_for
from fmkit.selection.score_items import area_of, item_of

RANKED_BY_ITS_OWN = {"transcription", "image-text", "classification", "summarisation"}
"""Tasks whose benchmarks are of other kinds of model, or too few were tried on them."""


def test_every_item_is_of_scores_in_the_catalog() -> None:
    fit = load_catalog().capability
    known = {item for c in load_catalog().candidates() for score in c.scores if (item := item_of(score)) is not None}
    assert len(fit.items) > 100
    assert {(item.benchmark, item.variant) for item in fit.items} <= known
    assert set(fit.widths) == {widths_key(area, basis) for area in fit.priors for basis in BASES}
    names = {item.name for item in fit.items}
    assert all(set(widths.items) <= names for widths in fit.widths.values())
    assert all(kind(item.benchmark) for item in fit.items)


def test_abilities_are_of_every_model_of_a_fitted_kind_and_come_from_these_constants() -> None:
    catalog = load_catalog()
    wanted = {c.id for c in catalog.candidates() if area_of(c) in catalog.capability.priors}
    assert set(catalog.abilities) == wanted
    assert abilities(catalog.candidates(), catalog.capability) == catalog.abilities


def test_the_benchmarks_of_ranked_tasks_are_items() -> None:
    catalog = load_catalog()
    for task in catalog.tasks.values():
        if task.unranked is None and task.id not in RANKED_BY_ITS_OWN:
            areas = catalog.capability.priors
            assert any(item_for(catalog.capability, a, b) for a in areas for b in task.benchmarks), task.id


def test_a_larger_sibling_is_abler() -> None:
    """What any engineer knows must come out of what the constants say."""
    catalog = load_catalog()
    item = next(i for i in catalog.capability.items if (i.benchmark, i.variant) == ("mmlu-pro", ""))

    def expected(name: str) -> float:
        return item.mean + sum(a * b for a, b in zip(item.loadings, catalog.abilities[name].mean, strict=True))

    for better, worse in (
        ("qwen2.5-72b-instruct", "qwen2.5-7b-instruct"),
        ("qwen2.5-7b-instruct", "qwen2.5-0.5b-instruct"),
        ("llama-3.1-70b-instruct", "llama-3.1-8b-instruct"),
        ("llama-3.1-8b-instruct", "llama-3.2-1b-instruct"),
        ("gemma-3-27b-it", "gemma-3-4b-it"),
    ):
        assert expected(better) > expected(worse) + 0.2, (better, worse)


def test_faults_are_named_with_their_line(tmp_path: Path) -> None:
    folder = tmp_path / "capability"
    shutil.copytree(source_folder() / "capability", folder)
    items = (folder / "items.csv").read_text(encoding="utf-8").splitlines()
    items[1] = items[1].replace("language", "speech", 1)
    (folder / "items.csv").write_text("\n".join(items) + "\n", encoding="utf-8")
    faults: list[Fault] = []
    read_capability(tmp_path, faults)
    assert [(fault.file, fault.path) for fault in faults] == [("capability/items.csv", "line 2, area")]
    assert read_capability(tmp_path / "nowhere", []) is NO_FIT


def test_constants_of_a_benchmark_that_is_gone_are_a_fault() -> None:
    sources = read_sources(source_folder())
    fewer = {name: rows for name, rows in sources.scores.items() if name != "mmlu-pro"}
    without = msgspec.structs.replace(sources, scores=fewer)
    found = [fault for fault in fits.capability(Facts(without, link(without), {})) if fault.file.endswith("items.csv")]
    assert [fault.names for fault in found] == ["mmlu-pro"]
    assert "benchmarks.fit_capability" in found[0].message


def test_a_fit_is_of_the_scores_and_the_constants_that_are_there() -> None:
    sources = read_sources(source_folder())
    in_step = msgspec.structs.replace(
        sources.capability,
        scores_digest=scores_digest(sources.scores),
        constants_digest=constants_digest(source_folder()),
    )

    def told(fit: CapabilityFit, **changes: object) -> list[str]:
        changed = msgspec.structs.replace(sources, capability=fit, **changes)
        return [fault.path for fault in fits.capability(Facts(changed, link(changed), {}))]

    assert told(in_step) == []
    (line, row), *rest = sources.scores["mmlu-pro"]
    moved = sources.scores | {"mmlu-pro": [(line, msgspec.structs.replace(row, score=row.score + 0.1)), *rest]}
    assert told(in_step, scores=moved) == ["$.scores_digest"]
    assert told(msgspec.structs.replace(in_step, constants_digest="of others")) == ["$.constants_digest"]
    assert told(in_step, scores=moved, own=sources) == []  # scores of the user's own


def test_the_digest_of_scores_is_of_figures_not_of_notes_or_order() -> None:
    scores = {"a": list(enumerate(_rows(50.0, 60.0)))}
    same = {"a": [(9, msgspec.structs.replace(row, notes="read again")) for _, row in reversed(scores["a"])]}
    assert scores_digest(scores) == scores_digest(same)
    for other in ({"b": scores["a"]}, {"a": list(enumerate(_rows(50.0, 60.1)))}, {"a": scores["a"][:1]}):
        assert scores_digest(scores) != scores_digest(other)


def _rows(*figures: float) -> list[ScoreRow]:
    return [
        ScoreRow(model=f"m{n}", score=x, unit="%", source="s", source_date="2026", reported_by="vendor")
        for n, x in enumerate(figures)
    ]
