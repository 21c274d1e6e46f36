"""DeepSeek-MoE 16B, the first of the line: multi-head attention, shared and routed experts after the first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, experts_of, gated_mlp_tensors
from fmkit.model.architectures.remote import NOTE
from fmkit.model.architectures.variant import Defaults, Variant, leading_dense, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("deepseek",)
DEFAULTS = Defaults(hidden=2048, layers=28, vocab=102400, ffn=10944, heads=16, context=4096)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeepSeek-MoE config."""
    return causal_lm(config, text_model, default_class="DeepseekForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """DeepseekModel of the repository; 16,375,728,128 parameters for DeepSeek-MoE-16B, as published.

    Experts are counted fused, though the repository's code keeps one Linear per expert.
    """
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    if config.size("moe_layer_freq", default=1) != 1:
        raise config.unknown("experts in every n-th layer (moe_layer_freq) are not understood")
    ffn = config.core("moe_intermediate_size", class_default=1408)
    shared = config.size("n_shared_experts", default=2, null=0, minimum=0) * ffn
    mixture = experts_of(config, "n_routed_experts", per_token=6, experts=64, ffn_dim=ffn, shared_ffn_dim=shared)

    def experts(layer: Tensors) -> None:
        expert_tensors(layer, hidden, mixture)
        if shared:
            gated_mlp_tensors(layer, hidden, shared, name="mlp.shared_experts")

    bias = config.flag("attention_bias", default=False)
    return variant_model(
        config,
        tensors,
        Variant(defaults=DEFAULTS, qkv_bias=bias, output_bias=bias, rotary="none"),
        experts=(mixture, experts),
        sparse=leading_dense(config, layers, default=0),
        notes=(NOTE,),
    )
