"""Kimi Linear and the text model of Kimi K3: gated delta attention in three of four layers, latent attention in one.

K3 is the same with an output gate on latent attention, a gate of full rank on delta attention, experts that work on a
narrower vector than the model's, and a weighted sum of earlier layers' outputs before each half of a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal_lm,
    gated_mlp_tensors,
    rope_limit,
    stack_of,
)
from fmkit.model.architectures.deepseek import latent_tensors
from fmkit.model.architectures.variant import leading_dense, prediction_notes
from fmkit.model.attention import LatentAttention
from fmkit.model.recurrent import DeltaAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("kimi_linear",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Kimi Linear config."""
    return causal_lm(config, text_model, default_class="KimiLinearForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """KimiLinearModel. Class defaults: KimiLinearConfig, transformers 5.23; what only K3 has is off by default."""
    hidden = config.core("hidden_size", class_default=2304)
    layers = config.layers("num_hidden_layers", class_default=27)
    vocab = config.core("vocab_size", class_default=163840)
    attends, latent, delta = _attending_layers(config, layers), _latent(config), _delta(config)
    tensors.embedding("embed_tokens", vocab, hidden)
    attention = tensors.at("layers.*", count=attends.count(True))
    latent_tensors(config, attention, hidden, latent)
    if config.flag("mla_use_output_gate", default=False):
        attention.linear("self_attn.g_proj", latent.query_heads * latent.value_dim, hidden, part="attention")
    _delta_tensors(config, tensors.at("layers.*.self_attn", count=attends.count(False)), hidden, delta)
    mlps = _feed_forwards(config, tensors, hidden, leading_dense(config, layers, default=1))
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    if config.has("attn_res_block_size"):
        _residual_tensors(layer, hidden, "self_attention_res", "mlp_res")
        _residual_tensors(tensors, hidden, "output_attn_res")
    mixers: list[Mixer] = [latent if flag else delta for flag in attends]
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True)),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=1048576) or config.optional_size("model_max_length"),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="none",
        kind="hybrid",
        notes=prediction_notes(config),
    )


def _attending_layers(config: ConfigReader, layers: int) -> list[bool]:
    """Which layers have latent attention: named from 1 in `linear_attn_config`, or by `layer_types`, or every fourth."""
    types = config.texts("layer_types")
    if types is not None:
        if len(types) != layers:
            raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
        return [kind == "full_attention" for kind in types]
    settings = config.child("linear_attn_config")
    named = settings.sizes("full_attn_layers", minimum=1) if settings is not None else None
    if named is None:
        return [layer > 0 and layer % 4 == 0 for layer in range(layers)]
    others = (settings.sizes("kda_layers", minimum=1) if settings is not None else None) or ()
    if sorted((*named, *others)) != list(range(1, layers + 1)):
        raise config.wrong("linear_attn_config", f"each of the {layers} layers in one of its two lists", "another list")
    return [layer + 1 in set(named) for layer in range(layers)]


def _latent(config: ConfigReader) -> LatentAttention:
    return LatentAttention(
        query_heads=config.core("num_attention_heads", class_default=32),
        latent_dim=config.core("kv_lora_rank", class_default=512),
        rope_dim=config.core("qk_rope_head_dim", class_default=64),
        nope_dim=config.core("qk_nope_head_dim", class_default=128),
        value_dim=config.core("v_head_dim", class_default=128),
        query_latent_dim=config.optional_size("q_lora_rank"),
    )


def _delta(config: ConfigReader) -> DeltaAttention:
    settings = config.child("linear_attn_config") or config
    heads = settings.size("num_heads", "linear_num_heads", default=32)
    dim = settings.size("head_dim", "linear_head_dim", default=128)
    kernel = settings.size("short_conv_kernel_size", "linear_conv_kernel_dim", default=4)
    return DeltaAttention(key_heads=heads, value_heads=heads, key_dim=dim, value_dim=dim, conv_kernel=kernel)


def _delta_tensors(config: ConfigReader, module: Tensors, hidden: int, delta: DeltaAttention) -> None:
    """Kimi Delta Attention: a decay for each channel, and a gate on the output."""
    width = delta.value_heads * delta.value_dim
    settings = config.child("linear_attn_config")
    full_rank = settings is not None and settings.flag("use_full_rank_gate", default=False)
    for name in ("q_proj", "k_proj", "v_proj"):
        module.linear(name, width, hidden, part="state")
    # K3 keeps these in float32.
    kept = module.at("", dtype="float32" if full_rank else None)
    kept.conv("conv1d", (delta.conv_dim, 1, delta.conv_kernel), part="state")
    module.linear("forget_gate.f_a_proj", delta.value_dim, hidden, part="state")
    module.linear("forget_gate.f_b_proj", width, delta.value_dim, part="state")
    kept.parameter("forget_gate.dt_bias", (width,), part="state")
    # K3's files pad the logarithms of all heads to one head's width; of its 128 the first 96 are used.
    heads = (1, 1, delta.value_heads, 1)
    kept.parameter("forget_gate.A_log", (delta.value_dim,) if full_rank else heads, part="state")
    module.linear("b_proj", delta.value_heads, hidden, part="state")
    if full_rank:
        module.linear("g_proj", width, hidden, part="state")
    else:
        module.linear("g_a_proj", delta.value_dim, hidden, part="state")
        module.linear("g_b_proj", width, delta.value_dim, part="state")
    kept.norm("o_norm", delta.value_dim)
    module.linear("o_proj", hidden, width, part="state")


def _feed_forwards(config: ConfigReader, tensors: Tensors, hidden: int, sparse: list[bool]) -> list[Mlp]:
    dense = Mlp(ffn_dim=config.core("intermediate_size", class_default=9216), gated=True)
    gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), hidden, dense.ffn_dim)
    mixture = _mixture(config)
    if any(sparse):
        _expert_tensors(config, tensors.at("layers.*.mlp", count=sparse.count(True)), hidden, mixture)
    return [mixture if flag else dense for flag in sparse]


def _mixture(config: ConfigReader) -> Mlp:
    experts = config.core("num_experts", "num_local_experts", class_default=256)
    active = config.core("num_experts_per_token", "num_experts_per_tok", class_default=8)
    if active > experts:
        raise config.wrong("num_experts_per_token", f"at most the {experts} experts", active)
    ffn = config.core("moe_intermediate_size", class_default=1024)
    shared = config.size("num_shared_experts", "n_shared_experts", default=1, minimum=0) * ffn
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=shared)


def _expert_tensors(config: ConfigReader, mlp: Tensors, hidden: int, mixture: Mlp) -> None:
    """Experts, fused; K3 projects to `routed_expert_hidden_size` before them and back after them."""
    narrow = config.optional_size("routed_expert_hidden_size")
    width, count, active = narrow or hidden, mixture.experts, mixture.experts_per_token
    mlp.parameter("experts.gate_up_proj", (count, 2 * mixture.ffn_dim, width), part="experts", active=active)
    mlp.parameter("experts.down_proj", (count, width, mixture.ffn_dim), part="experts", active=active)
    mlp.parameter("gate.weight", (count, hidden), part="router")
    mlp.buffer("gate.e_score_correction_bias", (count,), dtype="float32" if narrow else None)
    if narrow:
        # K3's files keep these at 16 bit, as they do the rows of `_residual_tensors`, though no rule of its config says so.
        mlp.linear("routed_expert_down_proj", narrow, hidden, part="mlp", quantisable=False)
        mlp.linear("routed_expert_up_proj", hidden, narrow, part="mlp", quantisable=False)
        if config.flag("latent_moe_use_norm", default=False):
            mlp.norm("routed_expert_norm", narrow)
    if mixture.shared_ffn_dim:
        gated_mlp_tensors(mlp, hidden, mixture.shared_ffn_dim, name="shared_experts")


def _residual_tensors(module: Tensors, hidden: int, *names: str) -> None:
    """What weighs the outputs of earlier blocks: a norm and one row each."""
    for name in names:
        module.norm(f"{name}_norm", hidden)
        module.linear(f"{name}_proj", 1, hidden, part="mlp", quantisable=False)
