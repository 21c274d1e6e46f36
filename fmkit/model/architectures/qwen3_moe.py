"""Qwen3-MoE and Qwen3-Coder: Qwen3 with a mixture of experts in all layers, or in those that the config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
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
    windows_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("qwen3_moe",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen3-MoE config."""
    return causal_lm(config, text_model, default_class="Qwen3MoeForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Qwen3MoeModel. Class defaults: Qwen3MoeConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2048)
    layers = config.layers("num_hidden_layers", class_default=24)
    vocab = config.core("vocab_size", class_default=151936)
    heads = read_heads(config, hidden, heads=32, kv_heads=4)
    bias = config.flag("attention_bias", default=False)
    mixture, dense = _feed_forwards(config)
    sparse = sparse_layers(config, layers)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.norm("self_attn.q_norm", heads.dim)
    layer.norm("self_attn.k_norm", heads.dim)
    expert_tensors(tensors.at("layers.*", count=sum(sparse)), hidden, mixture)
    gated_mlp_tensors(tensors.at("layers.*", count=layers - sum(sparse)), hidden, dense.ffn_dim)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    windows = windows_of(config, layers, _window(config))
    blocks = [
        (causal(heads, window), mixture if is_sparse else dense)
        for window, is_sparse in zip(windows, sparse, strict=True)
    ]
    return TextModel(
        stack=stack_of("decoder", hidden, blocks),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _feed_forwards(config: ConfigReader) -> tuple[Mlp, Mlp]:
    expert_ffn = config.core("moe_intermediate_size", class_default=768)
    mixture = experts_of(config, "num_experts", "num_local_experts", per_token=8, experts=128, ffn_dim=expert_ffn)
    return mixture, Mlp(ffn_dim=config.core("intermediate_size", class_default=6144), gated=True)


def sparse_layers(config: ConfigReader, layers: int) -> list[bool]:
    """Which layers have experts: every `decoder_sparse_step`-th, except `mlp_only_layers`."""
    step = config.size("decoder_sparse_step", default=1)
    dense = set(config.sizes("mlp_only_layers") or ())
    return [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]


def _window(config: ConfigReader) -> int | None:
    if not config.flag("use_sliding_window", default=False):
        return None
    return config.size("sliding_window", default=4096, null=0) or None
