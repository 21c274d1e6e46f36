"""Parameters of every catalog config: exactly the count of its class on the meta device (INDEX.csv, `params_meta`)."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.architectures import lineages, read
from fmkit.model.spec import ModelSpec

CONFIGS = Path(__file__).parents[3] / "catalog" / "configs"
ROWS = list(csv.DictReader((CONFIGS / "INDEX.csv").read_text("utf-8").splitlines()))
COUNTED = [row for row in ROWS if row["params_meta"]]
UNCOUNTED = [row for row in ROWS if not row["params_meta"]]


def config_of(row: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CONFIGS / row["file"]).read_text("utf-8"))
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


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row["hub_id"])
def test_a_spec_survives_json(row: dict[str, str]) -> None:
    spec = read(config_of(row), where=row["file"])
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec


@pytest.mark.parametrize("row", UNCOUNTED, ids=lambda row: row["hub_id"])
def test_a_row_without_a_figure_is_read_or_refused_by_name(row: dict[str, str]) -> None:
    config = config_of(row)
    if config["model_type"] in lineages():
        assert read(config, where=row["file"]).params > 0
        return
    with pytest.raises(ArchitectureUnknownError, match=config["model_type"]) as caught:
        read(config, where=row["file"])
    assert caught.value.where == row["file"]
    assert caught.value.next_command
    print(f"{row['hub_id']}: no figure ({row['notes']}); {caught.value.message}")


def test_experts_that_a_token_skips_are_not_active() -> None:
    """Mixtral-8x7B: 12.9B of 46.7B, as its authors say (arXiv:2401.04088)."""
    row = next(row for row in ROWS if row["hub_id"] == "mistralai/Mixtral-8x7B-v0.1")
    spec = read(config_of(row), where=row["file"])
    assert spec.params == 46_702_792_704
    assert round(spec.active_params / 1e9, 1) == 12.9
