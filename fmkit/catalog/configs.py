"""The config.json files of the catalog by Hub id, those without an entry of their own included."""

from __future__ import annotations

import csv
import json
from functools import cache
from typing import TYPE_CHECKING

from fmkit.catalog.paths import config_path, source_folder
from fmkit.model.architectures import read

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec


@cache
def config_files() -> dict[str, str]:
    """File name in configs/ by Hub id in lower case."""
    with (source_folder() / "configs" / "INDEX.csv").open(encoding="utf-8", newline="") as stream:
        return {line["hub_id"].casefold(): line["file"] for line in csv.DictReader(stream)}


def read_config_spec(file: str) -> ModelSpec:
    """The architecture in a file of configs/; ArchitectureUnknownError where it can't be read."""
    content = config_path(file).read_text(encoding="utf-8")
    return read(json.loads(content), where=f"configs/{file}")
