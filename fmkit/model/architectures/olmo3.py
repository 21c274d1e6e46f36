"""OLMo 3: norms after each half of a block, norms of queries and keys, three sliding layers to one full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, windows_of
from fmkit.model.architectures.variant import Defaults, Names, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("olmo3",)
DEFAULTS = Defaults(hidden=4096, layers=32, vocab=50304, ffn=11008, heads=32)
NAMES = Names(norms=("post_attention_layernorm", "post_feedforward_layernorm"))


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an OLMo 3 config."""
    return causal_lm(config, text_model, default_class="Olmo3ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Olmo3Model. Class defaults: Olmo3Config, transformers 5.23."""
    bias = config.flag("attention_bias", default=False)
    variant = Variant(
        defaults=DEFAULTS, names=NAMES, qk_norm="width", qkv_bias=bias, output_bias=bias, rotary="by kind"
    )
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    pattern = ["full_attention" if (layer + 1) % 4 == 0 else "sliding_attention" for layer in range(layers)]
    windows = windows_of(config, layers, config.size("sliding_window", default=4096), default=pattern)
    return variant_model(config, tensors, variant, windows=windows)
