"""Qwen3-Next and the text models of Qwen3.5: gated delta attention in three of four layers, gated full attention in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    Heads,
    TextModel,
    causal,
    causal_lm,
    expert_tensors,
    experts_of,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.variant import prediction_notes
from fmkit.model.recurrent import DeltaAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
_CLASSES = {
    "qwen3_next": "Qwen3NextForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
}


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen3-Next config, or of a Qwen3.5 text model alone."""
    return causal_lm(config, text_model, default_class=_CLASSES[str(config.model_type)])


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Qwen3NextModel, Qwen3_5TextModel, Qwen3_5MoeTextModel. Class defaults: their configs, transformers 5.23."""
    fused = config.model_type == "qwen3_next"
    hidden = config.core("hidden_size", class_default=4096 if config.model_type == "qwen3_5_text" else 2048)
    layers = config.layers(
        "num_hidden_layers", class_default={"qwen3_next": 48, "qwen3_5_text": 32}.get(_type(config), 40)
    )
    vocab = config.core("vocab_size", class_default=151936 if fused else 248320)
    kv_heads = 4 if config.model_type == "qwen3_5_text" else 2
    heads = read_heads(config, hidden, heads=16, kv_heads=kv_heads, head_dim=256)
    delta, attends = _delta(config), _attending_layers(config, layers)
    tensors.embedding("embed_tokens", vocab, hidden)
    _delta_tensors(tensors.at("layers.*.linear_attn", count=attends.count(False)), hidden, delta, fused=fused)
    bias = config.flag("attention_bias", default=False)
    _attention_tensors(tensors.at("layers.*.self_attn", count=attends.count(True)), hidden, heads, bias=bias)
    mlps = _feed_forwards(config, tensors, hidden, layers)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim, default=0.25))
    mixers: list[Mixer] = [causal(heads, None) if flag else delta for flag in attends]
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True)),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=False),
        kind="hybrid",
        notes=prediction_notes(config),
    )


def _type(config: ConfigReader) -> str:
    return str(config.model_type)


def _delta(config: ConfigReader) -> DeltaAttention:
    keys, values = config.size("linear_num_key_heads", default=16), config.size("linear_num_value_heads", default=32)
    if values % keys:
        raise config.wrong("linear_num_value_heads", f"a multiple of linear_num_key_heads ({keys})", values)
    return DeltaAttention(
        key_heads=keys,
        value_heads=values,
        key_dim=config.size("linear_key_head_dim", default=128),
        value_dim=config.size("linear_value_head_dim", default=128),
        conv_kernel=config.size("linear_conv_kernel_dim", default=4),
    )


def _attending_layers(config: ConfigReader, layers: int) -> list[bool]:
    types = config.texts("layer_types")
    if types is None:
        interval = config.size("full_attention_interval", default=4)
        return [(layer + 1) % interval == 0 for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    unknown = next((kind for kind in types if kind not in ("linear_attention", "full_attention")), None)
    if unknown is not None:
        raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
    return [kind == "full_attention" for kind in types]


def _delta_tensors(module: Tensors, hidden: int, delta: DeltaAttention, *, fused: bool) -> None:
    values = delta.value_heads * delta.value_dim
    module.parameter("dt_bias", (delta.value_heads,), part="state")
    module.parameter("A_log", (delta.value_heads,), part="state")
    module.conv("conv1d", (delta.conv_dim, 1, delta.conv_kernel), part="state")
    if fused:
        module.linear("in_proj_qkvz", delta.conv_dim + values, hidden, part="state")
        module.linear("in_proj_ba", 2 * delta.value_heads, hidden, part="state")
    else:
        module.linear("in_proj_qkv", delta.conv_dim, hidden, part="state")
        module.linear("in_proj_z", values, hidden, part="state")
        module.linear("in_proj_b", delta.value_heads, hidden, part="state")
        module.linear("in_proj_a", delta.value_heads, hidden, part="state")
    module.norm("norm", delta.value_dim)
    module.linear("out_proj", hidden, values, part="state")


def _attention_tensors(attention: Tensors, hidden: int, heads: Heads, *, bias: bool) -> None:
    """Attention whose output is gated: queries are projected twice as wide."""
    attention.linear("q_proj", 2 * heads.query * heads.dim, hidden, bias=bias, part="attention")
    attention.linear("k_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
    attention.linear("v_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
    attention.linear("o_proj", hidden, heads.query * heads.dim, bias=bias, part="attention")
    attention.norm("q_norm", heads.dim)
    attention.norm("k_norm", heads.dim)


def _feed_forwards(config: ConfigReader, tensors: Tensors, hidden: int, layers: int) -> list[Mlp]:
    sparse = [False] * layers
    if config.model_type == "qwen3_5_moe_text":
        sparse = [True] * layers
    elif config.model_type == "qwen3_next":
        step = config.size("decoder_sparse_step", default=1)
        dense_layers = set(config.sizes("mlp_only_layers") or ())
        sparse = [layer not in dense_layers and (layer + 1) % step == 0 for layer in range(layers)]
    dense = mixture = None
    if not all(sparse):
        dense = Mlp(ffn_dim=config.core("intermediate_size", class_default=12288), gated=True)
        gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), hidden, dense.ffn_dim)
    if any(sparse):
        mixture = _mixture(config)
        layer = tensors.at("layers.*", count=sparse.count(True))
        expert_tensors(layer, hidden, mixture)
        gated_mlp_tensors(layer, hidden, mixture.shared_ffn_dim, name="mlp.shared_expert")
        layer.linear("mlp.shared_expert_gate", 1, hidden, part="router")
    chosen = [mixture if flag else dense for flag in sparse]
    return [mlp for mlp in chosen if mlp is not None]


def _mixture(config: ConfigReader) -> Mlp:
    ffn = config.core("moe_intermediate_size", class_default=512)
    shared = config.core("shared_expert_intermediate_size", class_default=512)
    per_token, experts = (10, 512) if config.model_type == "qwen3_next" else (8, 256)
    return experts_of(config, "num_experts", per_token=per_token, experts=experts, ffn_dim=ffn, shared_ffn_dim=shared)
