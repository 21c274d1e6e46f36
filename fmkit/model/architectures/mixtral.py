"""Mixtral and SaulLM-54B: Mistral with a mixture of experts in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    expert_tensors,
    experts_of,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
    windows_of,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mixtral",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Mixtral config."""
    return causal_lm(config, text_model, default_class="MixtralForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MixtralModel. Class defaults: MixtralConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32000)
    ffn = config.core("intermediate_size", class_default=14336)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    mlp = experts_of(config, "num_local_experts", "num_experts", per_token=2, experts=8, ffn_dim=ffn)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads)
    expert_tensors(layer, hidden, mlp)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    windows = windows_of(config, layers, config.optional_size("sliding_window"))
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
    )
