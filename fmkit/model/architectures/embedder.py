"""The class that an embedding model is loaded in, which is not always the one that its config.json names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEADS = ("ForCausalLM", "ForMaskedLM")


def embedder_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the base class in place of one with an output head.

    sentence-transformers loads `AutoModel`, vLLM's pooling models leave the head out, and the repositories store none:
    7,567,295,488 parameters are published of Qwen3-Embedding-8B, one matrix of 151,665 x 4096 fewer than `Qwen3ForCausalLM` has.

    >>> embedder_config({"architectures": ["Qwen3ForCausalLM"]})["architectures"]
    ['Qwen3Model']
    """
    named = config.get("architectures")
    if not isinstance(named, list):
        return dict(config)
    return {**config, "architectures": [_base(name) if isinstance(name, str) else name for name in named]}


def _base(name: str) -> str:
    for head in _HEADS:
        if name.endswith(head):
            return f"{name.removesuffix(head)}Model"
    return name
