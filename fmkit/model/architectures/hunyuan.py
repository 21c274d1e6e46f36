"""Hunyuan dense and mixture of experts: a Llama with norms of queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, gated_mlp_tensors
from fmkit.model.architectures.variant import Defaults, Names, Variant, variant_model
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("hunyuan_v1_dense", "hunyuan_v1_moe")
DEFAULTS = Defaults(hidden=4096, layers=32, vocab=290943, ffn=11008, heads=32)
NAMES = Names(q_norm="query_layernorm", k_norm="key_layernorm")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Hunyuan config."""
    sparse = config.model_type == "hunyuan_v1_moe"
    default = "HunYuanMoEV1ForCausalLM" if sparse else "HunYuanDenseV1ForCausalLM"
    return causal_lm(config, text_model, default_class=default)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """HunYuanDenseV1Model, HunYuanMoEV1Model. Class defaults: their configs in transformers 5.23."""
    bias = config.flag("attention_bias", default=False)
    variant = Variant(defaults=DEFAULTS, names=NAMES, qk_norm="head", qkv_bias=bias, output_bias=bias)
    if config.model_type == "hunyuan_v1_dense":
        return variant_model(config, tensors, variant)
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    mixture = _mixture(config)

    def experts(layer: Tensors) -> None:
        layer.linear("mlp.gate.wg", mixture.experts, hidden, part="router")
        fused = layer.at("mlp.experts")
        shape_in, shape_out = (mixture.experts, 2 * mixture.ffn_dim, hidden), (mixture.experts, hidden, mixture.ffn_dim)
        fused.parameter("gate_up_proj", shape_in, part="experts", active=mixture.experts_per_token)
        fused.parameter("down_proj", shape_out, part="experts", active=mixture.experts_per_token)
        gated_mlp_tensors(layer, hidden, mixture.shared_ffn_dim, name="mlp.shared_mlp")

    return variant_model(config, tensors, variant, experts=(mixture, experts))


def _mixture(config: ConfigReader) -> Mlp:
    """Experts of `intermediate_size`; `num_experts` and `moe_topk` may be lists with one item for each layer, all equal."""
    experts = _one(config, "num_experts", default=1)
    active = _one(config, "moe_topk", default=1)
    ffn = config.core("intermediate_size", class_default=DEFAULTS.ffn)
    if active > experts:
        raise config.wrong("moe_topk", f"at most the {experts} experts", active)
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=ffn)


def _one(config: ConfigReader, name: str, *, default: int) -> int:
    if not config.is_list(name):
        return config.core(name, class_default=default)
    values = set(config.sizes(name, minimum=1) or ())
    if len(values) != 1:
        raise config.unknown(f"{name} differs from layer to layer, which is not understood")
    return values.pop()
