"""MiMo-V2-Flash: full and sliding layers with key heads of their own, values narrower than keys, sinks, experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal_lm,
    expert_tensors,
    experts_of,
    gated_mlp_tensors,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.variant import prediction_notes
from fmkit.model.attention import FullAttention, SlidingAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mimo_v2_flash",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiMo-V2-Flash config."""
    return causal_lm(config, text_model, default_class="MiMoV2FlashForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiMoV2FlashModel. Class defaults: MiMoV2FlashConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=48)
    vocab = config.core("vocab_size", class_default=152576)
    full, sliding = _attention(config)
    mixers: list[FullAttention] = [sliding if slides else full for slides in _sliding_layers(config, layers)]
    sparse = _sparse_layers(config, layers)
    dense = Mlp(ffn_dim=config.core("intermediate_size", class_default=16384), gated=True)
    ffn = config.core("moe_intermediate_size", class_default=2048)
    mixture = experts_of(config, "n_routed_experts", per_token=8, experts=256, ffn_dim=ffn)
    tensors.embedding("embed_tokens", vocab, hidden)
    for mixer in mixers:
        _attention_tensors(config, tensors.at("layers.*"), hidden, mixer)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), hidden, dense.ffn_dim)
    expert_layer = tensors.at("layers.*", count=sparse.count(True))
    expert_tensors(expert_layer, hidden, mixture)
    if any(sparse):
        expert_layer.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype=None)
    tensors.norm("norm", hidden)
    rotated = rotary_dims(config, full.key_dim, default=0.334)
    rotary_buffers(tensors, rotated, prefix="full_attention_")
    rotary_buffers(tensors, rotated, prefix="sliding_attention_")
    blocks: list[tuple[Mixer, Mlp | None]] = [
        (mixer, mixture if is_sparse else dense) for mixer, is_sparse in zip(mixers, sparse, strict=True)
    ]
    return TextModel(
        stack=stack_of("decoder", hidden, blocks),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=prediction_notes(config),
    )


def _attention(config: ConfigReader) -> tuple[FullAttention, SlidingAttention]:
    """Full and sliding attention. The window counts the token itself: `sliding_window_size` + 1 (MiMoV2FlashConfig)."""
    query = config.core("num_attention_heads", class_default=64)
    kv = config.core("num_key_value_heads", class_default=4)
    dim = config.core("head_dim", class_default=192)
    value = config.core("v_head_dim", class_default=128)
    named = config.optional_size("sliding_window_size")
    window = named + 1 if named is not None else config.size("sliding_window", default=129)
    full = FullAttention(query_heads=query, kv_heads=kv, key_dim=dim, value_dim=value)
    sliding = SlidingAttention(
        query_heads=query,
        kv_heads=config.core("swa_num_key_value_heads", class_default=8),
        key_dim=dim,
        value_dim=value,
        window_tokens=window,
    )
    return full, sliding


def _attention_tensors(config: ConfigReader, layer: Tensors, hidden: int, mixer: FullAttention) -> None:
    bias = config.flag("attention_bias", default=False)
    attention = layer.at("self_attn")
    attention.linear("q_proj", mixer.query_heads * mixer.key_dim, hidden, bias=bias, part="attention")
    attention.linear("k_proj", mixer.kv_heads * mixer.key_dim, hidden, bias=bias, part="attention")
    attention.linear("v_proj", mixer.kv_heads * mixer.value_dim, hidden, bias=bias, part="attention")
    attention.linear("o_proj", hidden, mixer.query_heads * mixer.value_dim, part="attention")
    if isinstance(mixer, SlidingAttention):
        attention.parameter("sinks", (mixer.query_heads,), part="attention")


def _sliding_layers(config: ConfigReader, layers: int) -> list[bool]:
    """From `layer_types`; else full in the first and every sixth layer (MiMoV2FlashConfig)."""
    types = config.texts("layer_types")
    if types is None:
        return [not (layer == 0 or (layer + 1) % 6 == 0) for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    return [kind == "sliding_attention" for kind in types]


def _sparse_layers(config: ConfigReader, layers: int) -> list[bool]:
    types = config.texts("mlp_layer_types")
    if types is None:
        return [layer > 0 for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("mlp_layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    return [kind == "sparse" for kind in types]
