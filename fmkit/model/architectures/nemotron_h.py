"""Nemotron-H and Nemotron 3: Mamba 2, attention, feed-forwards and mixtures of experts, each a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, read_heads, stack_of
from fmkit.model.architectures.mamba2 import mamba2_tensors
from fmkit.model.architectures.variant import prediction_notes
from fmkit.model.recurrent import Mamba2, NoMixer
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("nemotron_h",)
PATTERN = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
"""The letters of `hybrid_override_pattern` (NemotronHConfig, transformers 5.23)."""
NAMES = {"mamba": "linear_attention", "attention": "full_attention"}
"""Older names of the kinds of layer."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Nemotron-H config."""
    return causal_lm(config, text_model, default_class="NemotronHForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """NemotronHModel. Class defaults: NemotronHConfig, transformers 5.23; no rotary positions."""
    hidden = config.core("hidden_size", class_default=4096)
    vocab = config.core("vocab_size", class_default=131072)
    kinds = _layer_kinds(config)
    heads = read_heads(config, hidden, heads=32, kv_heads=8, head_dim=128)
    state, dense, mixture = _state(config), _dense(config), None
    tensors.embedding("embeddings", vocab, hidden)
    tensors.at("layers.*", count=len(kinds)).norm("norm", hidden)
    mamba2_tensors(
        tensors.at("layers.*.mixer", count=kinds.count("linear_attention")),
        hidden,
        state,
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("mamba_conv_bias" if config.has("mamba_conv_bias") else "use_conv_bias", default=True),
    )
    _attention_tensors(tensors.at("layers.*.mixer", count=kinds.count("full_attention")), hidden, heads)
    bias = config.flag("mlp_bias", default=False)
    _dense_tensors(tensors.at("layers.*.mixer", count=kinds.count("mlp")), hidden, dense.ffn_dim, bias=bias)
    if "moe" in kinds:
        mixture = _mixture(config)
        _expert_tensors(config, tensors.at("layers.*.mixer", count=kinds.count("moe")), hidden, mixture)
    tensors.norm("norm_f", hidden)
    blocks: dict[str, tuple[Mixer, Mlp | None]] = {
        "linear_attention": (state, None),
        "full_attention": (causal(heads, None), None),
        "mlp": (NoMixer(), dense),
        "moe": (NoMixer(), mixture),
    }
    return TextModel(
        stack=stack_of("decoder", hidden, [blocks[kind] for kind in kinds]),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("max_position_embeddings"),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="none",
        kind="hybrid",
        notes=prediction_notes(config),
    )


def _layer_kinds(config: ConfigReader) -> list[str]:
    named = config.texts("layer_types") or config.texts("layers_block_type")
    if named is None:
        pattern = config.optional_text("hybrid_override_pattern")
        if pattern is None:
            raise config.missing("hybrid_override_pattern")
        named = tuple(PATTERN.get(letter, letter) for letter in pattern[:MAX_PATTERN])
    kinds = [NAMES.get(kind, kind) for kind in named]
    unknown = next((kind for kind in kinds if kind not in PATTERN.values()), None)
    if unknown is not None or not kinds:
        raise config.unknown(
            f"layer type {str(unknown)[:40]!r} is not understood; known: {', '.join(PATTERN.values())}"
        )
    return kinds


MAX_PATTERN = 10_000
"""The longest pattern that is read."""


def _state(config: ConfigReader) -> Mamba2:
    return Mamba2(
        heads=config.size("mamba_num_heads", default=128),
        head_dim=config.size("mamba_head_dim", default=64),
        groups=config.size("mamba_n_groups", "n_groups", default=8),
        state_dim=config.size("ssm_state_size", default=128),
        conv_kernel=config.size("mamba_d_conv", "conv_kernel", default=4),
        chunk_tokens=config.size("mamba_chunk_size", "chunk_size", default=128),
    )


def _dense(config: ConfigReader) -> Mlp:
    return Mlp(ffn_dim=config.core("intermediate_size", class_default=21504), gated=False)


def _mixture(config: ConfigReader) -> Mlp:
    if config.has("moe_latent_size"):
        raise config.unknown("experts behind a latent projection (moe_latent_size) are not understood")
    experts = config.core("n_routed_experts", class_default=8)
    active = config.core("num_experts_per_tok", class_default=2)
    if active > experts:
        raise config.wrong("num_experts_per_tok", f"at most the {experts} experts", active)
    return Mlp(
        ffn_dim=config.core("moe_intermediate_size", class_default=7688),
        gated=False,
        experts=experts,
        experts_per_token=active,
        shared_ffn_dim=config.size("moe_shared_expert_intermediate_size", default=7688),
    )


def _attention_tensors(module: Tensors, hidden: int, heads: Heads) -> None:
    module.linear("q_proj", heads.query * heads.dim, hidden, part="attention")
    module.linear("k_proj", heads.kv * heads.dim, hidden, part="attention")
    module.linear("v_proj", heads.kv * heads.dim, hidden, part="attention")
    module.linear("o_proj", hidden, heads.query * heads.dim, part="attention")


def _dense_tensors(module: Tensors, hidden: int, ffn: int, *, bias: bool) -> None:
    module.linear("up_proj", ffn, hidden, bias=bias, part="mlp")
    module.linear("down_proj", hidden, ffn, bias=bias, part="mlp")


def _expert_tensors(config: ConfigReader, module: Tensors, hidden: int, mlp: Mlp) -> None:
    module.parameter(
        "experts.up_proj", (mlp.experts, mlp.ffn_dim, hidden), part="experts", active=mlp.experts_per_token
    )
    module.parameter(
        "experts.down_proj", (mlp.experts, hidden, mlp.ffn_dim), part="experts", active=mlp.experts_per_token
    )
    module.parameter("gate.weight", (mlp.experts, hidden), part="router")
    module.buffer("gate.e_score_correction_bias", (mlp.experts,), dtype=None)
    bias = config.flag("mlp_bias", default=False)
    _dense_tensors(module.at("shared_experts"), hidden, mlp.shared_ffn_dim, bias=bias)
