"""Ministral 3 and Devstral 2: a Llama with a head width of its own; also the text model of Mistral 3 with images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, windows_of
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("ministral3",)
DEFAULTS = Defaults(hidden=4096, layers=34, vocab=131072, ffn=14336, heads=32, kv_heads=8, head_dim=128, context=262144)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Ministral 3 config."""
    return causal_lm(config, text_model, default_class="Ministral3ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Ministral3Model. Class defaults: Ministral3Config, transformers 5.23."""
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    windows = windows_of(config, layers, config.optional_size("sliding_window"))
    return variant_model(config, tensors, Variant(defaults=DEFAULTS), windows=windows)
