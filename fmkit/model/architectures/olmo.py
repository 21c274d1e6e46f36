"""OLMo 1: a Llama whose norms have no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm
from fmkit.model.architectures.variant import Defaults, Names, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("olmo",)
DEFAULTS = Defaults(hidden=4096, layers=32, vocab=50304, ffn=11008, heads=32)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an OLMo config."""
    return causal_lm(config, text_model, default_class="OlmoForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """OlmoModel. Class defaults: OlmoConfig, transformers 5.23."""
    bias = config.flag("attention_bias", default=False)
    variant = Variant(defaults=DEFAULTS, names=Names(norms=(), final_norm=""), qkv_bias=bias, output_bias=bias)
    return variant_model(config, tensors, variant)
