"""MiniMax-M2: experts in every layer, norms of queries and keys over all heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import causal_lm, expert_tensors, experts_of
from fmkit.model.architectures.variant import Defaults, Variant, variant_model

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("minimax_m2",)
DEFAULTS = Defaults(hidden=3072, layers=62, vocab=200064, ffn=1536, heads=48, kv_heads=8, head_dim=128, context=196608)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiniMax-M2 config."""
    return causal_lm(config, text_model, default_class="MiniMaxM2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiniMaxM2Model. Class defaults: MiniMaxM2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=DEFAULTS.hidden)
    ffn = config.core("intermediate_size", class_default=DEFAULTS.ffn)
    mixture = experts_of(config, "num_local_experts", "num_experts", per_token=8, experts=256, ffn_dim=ffn)

    def experts(layer: Tensors) -> None:
        expert_tensors(layer, hidden, mixture)
        layer.buffer("mlp.e_score_correction_bias", (mixture.experts,), dtype="float32")

    return variant_model(
        config,
        tensors,
        Variant(defaults=DEFAULTS, qk_norm="width"),
        experts=(mixture, experts),
        rotated_dims=config.optional_size("rotary_dim"),
        notes=_notes(config),
    )


def _notes(config: ConfigReader) -> tuple[str, ...]:
    if not config.flag("use_mtp", default=False):
        return ()
    return ("the multi-token-prediction modules are stored but not loaded: not counted",)
