"""Parameters of every catalog and fixture config: exactly the count of its class on the meta device (`params_meta`).

A type that transformers has no class for is held against the published total, or read by its fields, or refused by name.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.proofs.differences import NOT_EXPLAINED, explanation, noted_differences
from fmkit.errors import ArchitectureUnknownError
from fmkit.model.architectures import lineages, read
from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")
ROWS = [
    {**row, "path": str(folder / row["file"])}
    for folder in FOLDERS
    for row in csv.DictReader((folder / "INDEX.csv").read_text("utf-8").splitlines())
]
COUNTED = [row for row in ROWS if row["params_meta"]]
UNCOUNTED = [row for row in ROWS if not row["params_meta"]]
PUBLISHED = [row for row in ROWS if row["params_published"]]


def config_of(row: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(Path(row["path"]).read_text("utf-8"))
    return config


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row["hub_id"])
def test_parameters_are_exact(row: dict[str, str]) -> None:
    spec = read(config_of(row), where=row["file"])
    assert spec.params == int(row["params_meta"])
    assert 0 < spec.active_params <= spec.params


def test_no_config_is_listed_twice() -> None:
    assert [hub_id for hub_id, count in Counter(row["hub_id"] for row in ROWS).items() if count > 1] == []


def test_every_published_total_that_is_another_is_explained_by_arithmetic() -> None:
    reasons = {}
    for row in PUBLISHED:
        spec = read(config_of(row), where=row["file"])
        if spec.params != int(row["params_published"]):
            reasons[row["hub_id"]] = explanation(row["hub_id"], int(row["params_published"]), spec, config_of(row))
    assert len(reasons) > 90
    assert {hub_id: why for hub_id, why in reasons.items() if NOT_EXPLAINED in why} == {}
    assert set(noted_differences()) <= set(reasons), "a line of DIFFERENCES.csv explains nothing"


@pytest.mark.parametrize("hub_id", [hub_id for hub_id, row in noted_differences().items() if row["terms"]])
def test_an_explanation_fails_where_the_total_is_another(hub_id: str) -> None:
    """One parameter more or less than published is not explained any more."""
    row = next(row for row in ROWS if row["hub_id"] == hub_id)
    spec = read(config_of(row), where=row["file"])
    for published in (int(row["params_published"]) - 1, int(row["params_published"]) + 1):
        assert explanation(hub_id, published, spec, config_of(row)).startswith(NOT_EXPLAINED)


def test_a_rule_fails_where_the_total_is_another() -> None:
    row = next(row for row in ROWS if row["hub_id"] == "Qwen/Qwen3-0.6B")
    spec = read(config_of(row), where=row["file"])
    published = int(row["params_published"])
    assert explanation("x", published, spec, config_of(row)).startswith("the output head, stored beside")
    assert explanation("x", published + 1, spec, config_of(row)).startswith(NOT_EXPLAINED)


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row["hub_id"])
def test_a_spec_survives_json(row: dict[str, str]) -> None:
    spec = read(config_of(row), where=row["file"])
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec


def outcome(config: dict[str, Any], where: str) -> tuple[ModelSpec | None, ArchitectureUnknownError | None]:
    try:
        return read(config, where=where), None
    except ArchitectureUnknownError as error:
        return None, error


@pytest.mark.parametrize("row", UNCOUNTED, ids=lambda row: row["hub_id"])
def test_a_row_without_a_count_is_the_published_total_or_refused_by_name(row: dict[str, str]) -> None:
    config = config_of(row)
    spec, refusal = outcome(config, row["file"])
    if refusal is not None:
        assert config["model_type"] not in lineages()
        assert config["model_type"] in refusal.message
        assert "lacks" in refusal.message or "is set" in refusal.message
        assert (refusal.where, bool(refusal.next_command)) == (row["file"], True)
    if spec is None:
        return
    if config["model_type"] not in lineages():
        assert any("is not known: sized from its fields" in note for note in spec.notes)
    if row["params_published"]:
        published = int(row["params_published"])
        assert published == spec.params or NOT_EXPLAINED not in explanation(row["hub_id"], published, spec, config)


def test_experts_that_a_token_skips_are_not_active() -> None:
    """Mixtral-8x7B: 12.9B of 46.7B, as its authors say (arXiv:2401.04088)."""
    row = next(row for row in ROWS if row["hub_id"] == "mistralai/Mixtral-8x7B-v0.1")
    spec = read(config_of(row), where=row["file"])
    assert spec.params == 46_702_792_704
    assert round(spec.active_params / 1e9, 1) == 12.9
