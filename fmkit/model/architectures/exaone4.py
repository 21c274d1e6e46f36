"""EXAONE 4: norms after each half of a block, norms of queries and keys by head, sliding layers between full ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, windows_of
from fmkit.model.architectures.variant import Defaults, Names, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("exaone4",)
DEFAULTS = Defaults(hidden=4096, layers=32, vocab=102400, ffn=16384, heads=32, kv_heads=32)
NAMES = Names(norms=("post_attention_layernorm", "post_feedforward_layernorm"))
VARIANT = Variant(defaults=DEFAULTS, names=NAMES, qk_norm="head")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an EXAONE 4 config."""
    return causal_lm(config, text_model, default_class="Exaone4ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Exaone4Model. Class defaults: Exaone4Config, transformers 5.23.

    `sliding_window_pattern` is the number of layers up to each full one, or the kinds spelt out: `LLLG` is 4.
    """
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    window = config.size("sliding_window", default=4096, null=0) or None
    name = "sliding_window_pattern"
    spelt = None if config.is_whole(name) else config.optional_text(name)
    step = len(spelt) if spelt is not None else config.size(name, default=4, null=0, minimum=0)
    slides = [window is not None and step > 0 and (layer + 1) % step != 0 for layer in range(layers)]
    kinds = ["sliding_attention" if flag else "full_attention" for flag in slides]
    return variant_model(config, tensors, VARIANT, windows=windows_of(config, layers, window, default=kinds))
