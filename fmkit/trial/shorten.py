"""The same architecture with fewer layers: what `--layers N` runs, and sizes, when the whole model is too large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fmkit.errors import UsageError

LAYER_KEYS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers",
)  # fmt: skip
"""Names under which config.json files state a number of layers."""

NESTED_TEXT = ("text_config", "llm_config", "language_config")


def with_layers(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """A copy of `config` with at most `layers` layers in its text stacks (and in both towers of a CLIP-like model).

    Lists with one entry per layer are cut to the same length; a vision tower in front of a language model stays whole.

    >>> with_layers({"num_hidden_layers": 4, "layer_types": ["a", "b", "a", "b"], "hidden_size": 8}, 1)
    {'num_hidden_layers': 1, 'layer_types': ['a'], 'hidden_size': 8}
    """
    nested = [key for key in NESTED_TEXT if isinstance(config.get(key), Mapping)]
    if not nested:
        return _cut(config, layers, where="config.json")
    towers = ["vision_config"] if "clip" in str(config.get("model_type", "")) else []
    short = dict(config)
    for key in (*nested, *towers):
        part = config.get(key)
        if isinstance(part, Mapping):
            short[key] = _cut(part, layers, where=f"config.json, {key}", default_key="num_hidden_layers")
    return short


def _cut(config: Mapping[str, Any], layers: int, *, where: str, default_key: str | None = None) -> dict[str, Any]:
    stated = [key for key in LAYER_KEYS if isinstance(config.get(key), int)]
    if not stated and default_key is None:
        raise UsageError("--layers: the config does not say how many layers there are", where=where)
    counts = {config[key] for key in stated}
    short = {
        key: value[:layers] if isinstance(value, list) and len(value) in counts and len(value) > layers else value
        for key, value in config.items()
    }
    for key in stated:
        short[key] = min(layers, config[key])
    if not stated and default_key is not None:
        short[default_key] = layers
    return short
