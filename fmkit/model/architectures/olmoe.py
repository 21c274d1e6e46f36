"""OLMoE: experts in every layer, norms of queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, experts_of
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("olmoe",)
DEFAULTS = Defaults(hidden=2048, layers=16, vocab=50304, ffn=2048, heads=16, context=4096)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an OLMoE config."""
    return causal_lm(config, text_model, default_class="OlmoeForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """OlmoeModel. Class defaults: OlmoeConfig, transformers 5.23; `intermediate_size` is an expert's width."""
    bias = config.flag("attention_bias", default=False)
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    ffn = config.core("intermediate_size", class_default=DEFAULTS.ffn)
    mixture = experts_of(config, "num_experts", "num_local_experts", per_token=8, experts=64, ffn_dim=ffn)
    variant = Variant(defaults=DEFAULTS, qk_norm="width", qkv_bias=bias, output_bias=bias)
    return variant_model(
        config, tensors, variant, experts=(mixture, lambda layer: expert_tensors(layer, hidden, mixture))
    )
