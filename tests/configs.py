"""Published config.json files at hand: the catalog's own, and those that only the tests need."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fmkit.catalog.load import load_catalog

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")


@cache
def published() -> tuple[Path, ...]:
    """All configs at hand, in the order of their names."""
    return tuple(sorted((path for folder in FOLDERS for path in folder.glob("*.json")), key=lambda path: path.name))


@cache
def beside_the_catalog() -> tuple[Path, ...]:
    """Configs of models that the catalog has no entry for, in the order of their names."""
    catalog = load_catalog()
    known = {catalog.model(name).config_file for name in catalog.model_ids()}
    return tuple(path for path in published() if path.name not in known)


def load(name: str) -> dict[str, Any]:
    """The config of that name (`org--model`)."""
    path = next(folder / f"{name}.json" for folder in FOLDERS if (folder / f"{name}.json").exists())
    config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return config
