"""MiMo 7B: Qwen2's shape, with a prediction layer that is stored beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mimo",)
DEFAULTS = Defaults(hidden=4096, layers=36, vocab=151680, ffn=11008, heads=32, kv_heads=8, context=32768)
NOTE = "transformers 5.23 has no class of this type: counted as Qwen2, whose shape the repository's code inherits"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiMo config."""
    return causal_lm(config, text_model, default_class="MiMoForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiMoModel of the repository: 7,622,619,136 parameters for MiMo-7B.

    The published 7,833,409,536 hold one prediction layer more: a layer of Qwen2, a projection of 2 x 4096 to 4096, and
    three norms, 210,790,400 together.
    """
    if config.flag("use_sliding_window", default=False):
        raise config.unknown("a sliding window (use_sliding_window) is not understood in a MiMo")
    bias = config.flag("attention_bias", default=True)
    return variant_model(config, tensors, Variant(defaults=DEFAULTS, qkv_bias=bias, rotary="none"), notes=(NOTE,))
