"""Qwen1.5-MoE and Qwen2-57B-A14B: Qwen2 with experts, beside one that all tokens pass through, gated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, experts_of, gated_mlp_tensors, windows_of
from fmkit.model.architectures.qwen3_moe import sparse_layers
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import Mlp, ModelSpec

MODEL_TYPES = ("qwen2_moe",)
DEFAULTS = Defaults(hidden=2048, layers=24, vocab=151936, ffn=5632, heads=16, kv_heads=16, context=32768)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen2-MoE config."""
    return causal_lm(config, text_model, default_class="Qwen2MoeForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Qwen2MoeModel. Class defaults: Qwen2MoeConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    mixture = experts_of(
        config,
        "num_experts",
        per_token=4,
        experts=60,
        ffn_dim=config.core("moe_intermediate_size", class_default=1408),
        shared_ffn_dim=config.core("shared_expert_intermediate_size", class_default=5632),
    )
    return variant_model(
        config,
        tensors,
        Variant(defaults=DEFAULTS, qkv_bias=config.flag("qkv_bias", default=True)),
        windows=_windows(config, layers),
        experts=(mixture, partial(_mixture_tensors, hidden=hidden, mixture=mixture)),
        sparse=sparse_layers(config, layers),
    )


def _mixture_tensors(layer: Tensors, *, hidden: int, mixture: Mlp) -> None:
    expert_tensors(layer, hidden, mixture)
    gated_mlp_tensors(layer, hidden, mixture.shared_ffn_dim, name="mlp.shared_expert")
    layer.linear("mlp.shared_expert_gate", 1, hidden, part="router")


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """Every other layer slides, up to `max_window_layers`, if `use_sliding_window`; no published model sets it."""
    window = None
    if config.flag("use_sliding_window", default=False):
        window = config.size("sliding_window", default=4096, null=0) or None
    last = config.size("max_window_layers", default=28, minimum=0)
    slides = [window is not None and layer % 2 == 0 and layer < last for layer in range(layers)]
    return windows_of(
        config, layers, window, default=["sliding_attention" if flag else "full_attention" for flag in slides]
    )
