"""The models of configs, made by transformers on the meta device: no weights, all shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    ROOT / "catalog" / "configs",
    ROOT / "tests" / "fixtures" / "configs",
    ROOT / "tests" / "fixtures" / "gguf" / "configs",
)


def config_of(name: str) -> dict[str, Any]:
    """The config.json of that name, without its quantisation."""
    path = next(folder / f"{name}.json" for folder in FOLDERS if (folder / f"{name}.json").exists())
    config: dict[str, Any] = json.loads(path.read_text())
    config.pop("quantization_config", None)
    return config


def on_meta(name: str) -> Any:
    """The class that the config names, in bfloat16."""
    import torch  # noqa: PLC0415  heavy, and an extra
    import transformers  # noqa: PLC0415  heavy, and an extra

    config = config_of(name)
    kind = getattr(transformers, config["architectures"][0])
    with torch.device("meta"):
        return kind._from_config(kind.config_class.from_dict(config), dtype=torch.bfloat16).eval()
