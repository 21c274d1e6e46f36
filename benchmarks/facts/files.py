"""What is read beside the catalog: the models' own config.json with its index, and the published table with what is wrong in it."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmkit.catalog.load import load_catalog

if TYPE_CHECKING:
    from fmkit.catalog.records import CatalogModel

CATALOG = Path(__file__).resolve().parents[2] / "catalog"
CONFIGS = CATALOG / "configs"
PUBLISHED = CATALOG / "published"


def config_of(model: CatalogModel) -> dict[str, Any]:
    """The config.json of a model."""
    read: dict[str, Any] = json.loads((CONFIGS / str(model.config_file)).read_text(encoding="utf-8"))
    return read


def index_row(model: CatalogModel) -> dict[str, str]:
    """What catalog/configs/INDEX.csv says of a model's config.json."""
    return _index()[str(model.config_file)]


def published(model_id: str) -> dict[str, str]:
    """The table's row of a model; empty where it has none."""
    return _published().get(model_id, {})


def why_doubtful(model: CatalogModel, fact: str) -> str | None:
    """What is wrong with the table's figure of a fact; None where nothing is known to be."""
    why = _doubtful().get((str(model.candidate.hub_id), fact))
    return None if why is None else f"doubtful: {why}"


@cache
def tags() -> frozenset[tuple[str, str]]:
    """Tags of the table with each licence of the catalog that they can mean under another name."""
    return frozenset((row["tag"], row["licence"]) for row in _rows(PUBLISHED / "tags.csv"))


@cache
def _index() -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in _rows(CONFIGS / "INDEX.csv")}


@cache
def _published() -> dict[str, dict[str, str]]:
    catalog = load_catalog()
    found: dict[str, dict[str, str]] = {}
    for row in _rows(PUBLISHED / "facts.csv"):
        model = catalog.resolve(row["hub_id"])
        if model is not None and (model not in found or row["hub_id"] == catalog.model(model).candidate.hub_id):
            found[model] = row
    return found


@cache
def _doubtful() -> dict[tuple[str, str], str]:
    return {(row["hub_id"], row["fact"]): row["why"] for row in _rows(PUBLISHED / "doubtful.csv")}


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
