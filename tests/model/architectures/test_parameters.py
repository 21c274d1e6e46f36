"""Parameters of every catalog and fixture config: exactly the count of its class on the meta device (`params_meta`).

A type that transformers has no class for is held against the published total, or read by its fields, or refused by name.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

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
EXPLAINED = {
    row["hub_id"]: int(row["published_less_ours"])
    for row in csv.DictReader((FOLDERS[1] / "DIFFERENCES.csv").read_text("utf-8").splitlines())
}
"""Where the published total is another: by how much. The file says why."""


def config_of(row: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(Path(row["path"]).read_text("utf-8"))
    return config


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row["hub_id"])
def test_parameters_are_exact(row: dict[str, str]) -> None:
    spec = read(config_of(row), where=row["file"])
    assert spec.params == int(row["params_meta"])
    assert 0 < spec.active_params <= spec.params
    if row["match"] == "y-explained":
        # The published figure differs; the index says why.
        assert row["notes"]
        print(f"{row['hub_id']}: {spec.params:,}, published {row['params_published']}: {row['notes']}")


def test_no_config_is_listed_twice() -> None:
    assert [hub_id for hub_id, count in Counter(row["hub_id"] for row in ROWS).items() if count > 1] == []


def test_every_published_total_that_is_another_is_explained() -> None:
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    parameters = import_module("benchmarks.proofs.parameters")
    apart = [row for row in COUNTED if row["params_published"] not in ("", row["params_meta"])]
    reasons = {
        row["hub_id"]: parameters.explanation(
            row, int(row["params_published"]) - int(row["params_meta"]), int(row["params_meta"]), config_of(row)
        )
        for row in apart
    }
    assert len(reasons) > 90
    assert {hub_id: why for hub_id, why in reasons.items() if why.startswith(parameters.NOT_EXPLAINED)} == {}


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
        assert int(row["params_published"]) - spec.params == EXPLAINED.get(row["hub_id"], 0)


def test_experts_that_a_token_skips_are_not_active() -> None:
    """Mixtral-8x7B: 12.9B of 46.7B, as its authors say (arXiv:2401.04088)."""
    row = next(row for row in ROWS if row["hub_id"] == "mistralai/Mixtral-8x7B-v0.1")
    spec = read(config_of(row), where=row["file"])
    assert spec.params == 46_702_792_704
    assert round(spec.active_params / 1e9, 1) == 12.9
