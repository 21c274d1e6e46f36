"""Seed-OSS: a Llama with biases on queries, keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("seed_oss",)
DEFAULTS = Defaults(hidden=4096, layers=64, vocab=155136, ffn=27648, heads=80, kv_heads=8, head_dim=128, context=524288)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Seed-OSS config."""
    return causal_lm(config, text_model, default_class="SeedOssForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """SeedOssModel. Class defaults: SeedOssConfig, transformers 5.23."""
    variant = Variant(
        defaults=DEFAULTS,
        qkv_bias=config.flag("attention_bias", default=True),
        output_bias=config.flag("attention_out_bias", default=False),
        mlp_bias=config.flag("mlp_bias", default=False),
    )
    return variant_model(config, tensors, variant)
