"""ERNIE 4.5: a Llama, dense or with experts from the second layer on and experts that every token passes through."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, gated_mlp_tensors
from fmkit.model.architectures.variant import Defaults, Variant, variant_model
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("ernie4_5", "ernie4_5_moe")
DENSE = Defaults(
    hidden=1024, layers=18, vocab=103424, ffn=3072, heads=16, kv_heads=2, head_dim=128, context=131072, tied=True
)
SPARSE = Defaults(hidden=2560, layers=28, vocab=103424, ffn=12288, heads=20, kv_heads=4, context=131072, tied=True)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an ERNIE 4.5 config."""
    sparse = config.model_type == "ernie4_5_moe"
    return causal_lm(config, text_model, default_class="Ernie4_5_MoeForCausalLM" if sparse else "Ernie4_5ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Ernie4_5Model and Ernie4_5_MoeModel. Class defaults: Ernie4_5Config, Ernie4_5_MoeConfig, transformers 5.23."""
    bias = config.flag("use_bias", default=False)
    sparse = config.model_type == "ernie4_5_moe"
    variant = Variant(defaults=SPARSE if sparse else DENSE, qkv_bias=bias, output_bias=bias, mlp_bias=bias)
    if not sparse:
        return variant_model(config, tensors, variant)
    hidden = config.core("hidden_size", class_default=SPARSE.hidden)
    mixture = _mixture(config)

    def experts(layer: Tensors) -> None:
        expert_tensors(layer, hidden, mixture)
        layer.parameter("mlp.gate.moe_statics.e_score_correction_bias", (1, mixture.experts), part="router")
        if mixture.shared_ffn_dim:
            gated_mlp_tensors(layer, hidden, mixture.shared_ffn_dim, bias=bias, name="mlp.shared_experts")

    text = variant_model(config, tensors, variant, experts=(mixture, experts), sparse=_sparse_layers(config))
    return replace(text, head_bias=bias)


def _mixture(config: ConfigReader) -> Mlp:
    ffn = config.core("moe_intermediate_size", class_default=1536)
    experts = config.core("moe_num_experts", "num_experts", class_default=64)
    active = config.core("moe_k", "num_experts_per_tok", class_default=6)
    if active > experts:
        raise config.wrong("moe_k", f"at most the {experts} experts", active)
    shared = config.size("moe_num_shared_experts", default=2, null=0, minimum=0)
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=shared * ffn)


def _sparse_layers(config: ConfigReader) -> list[bool]:
    """Layers from `moe_layer_start_index` to `moe_layer_end_index`, every `moe_layer_interval`-th (Ernie4_5_MoeDecoderLayer)."""
    layers = config.layers("num_hidden_layers", class_default=SPARSE.layers)
    start = config.size("moe_layer_start_index", default=1, minimum=0)
    named = config.has("moe_layer_end_index") and not config.is_minus_one("moe_layer_end_index")
    last = config.size("moe_layer_end_index", minimum=0) if named else layers - 1
    step = config.size("moe_layer_interval", default=1)
    return [(layer + 1) % step == 0 and start <= layer <= last for layer in range(layers)]
