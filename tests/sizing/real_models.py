"""The models of configs, made by transformers on the meta device: no weights, all shapes."""

from __future__ import annotations

import json
from typing import Any

from tests.configs import FOLDERS, ROOT

FOR_GGUF = ROOT / "tests" / "fixtures" / "gguf" / "configs"


def config_of(name: str) -> dict[str, Any]:
    """The config.json of that name, without its quantisation."""
    path = next(folder / f"{name}.json" for folder in (*FOLDERS, FOR_GGUF) if (folder / f"{name}.json").exists())
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
