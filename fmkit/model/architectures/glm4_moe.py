"""GLM-4.5 and 4.6: experts after the first layers, one expert for every token, half of each head rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, experts_of, gated_mlp_tensors
from fmkit.model.architectures.variant import Defaults, Variant, leading_dense, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("glm4_moe",)
DEFAULTS = Defaults(hidden=4096, layers=46, vocab=151552, ffn=10944, heads=96, kv_heads=8, context=131072, rotated=0.5)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a GLM-4.5 config."""
    return causal_lm(config, text_model, default_class="Glm4MoeForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Glm4MoeModel. Class defaults: Glm4MoeConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    layers = config.layers("num_hidden_layers", class_default=DEFAULTS.layers)
    ffn = config.core("moe_intermediate_size", class_default=1408)
    shared = config.size("n_shared_experts", default=1, null=0, minimum=0) * ffn
    mixture = experts_of(config, "n_routed_experts", per_token=8, experts=128, ffn_dim=ffn, shared_ffn_dim=shared)

    def experts(layer: Tensors) -> None:
        expert_tensors(layer, hidden, mixture)
        layer.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype="float32")
        if shared:
            gated_mlp_tensors(layer, hidden, shared, name="mlp.shared_experts")

    variant = Variant(
        defaults=DEFAULTS,
        qk_norm="head" if config.flag("use_qk_norm", default=False) else None,
        qkv_bias=config.flag("attention_bias", default=False),
    )
    sparse = leading_dense(config, layers, default=1)
    return variant_model(config, tensors, variant, experts=(mixture, experts), sparse=sparse)
