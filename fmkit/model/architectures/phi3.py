"""Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini: fused projections, optional window, partly rotated heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    causal_lm,
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

MODEL_TYPES = ("phi3",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Phi-3 config."""
    return causal_lm(config, text_model, default_class="Phi3ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Phi3Model. Class defaults: Phi3Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=3072)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32064)
    ffn = config.core("intermediate_size", class_default=8192)
    heads = read_heads(config, hidden, heads=32)
    fused = (heads.query + 2 * heads.kv) * heads.dim
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.linear("self_attn.o_proj", hidden, heads.query * heads.dim, part="attention")
    layer.linear("self_attn.qkv_proj", fused, hidden, part="attention")
    layer.linear("mlp.gate_up_proj", 2 * ffn, hidden, part="mlp")
    layer.linear("mlp.down_proj", hidden, ffn, part="mlp")
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    windows = windows_of(config, layers, config.optional_size("sliding_window"))
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=4096),
        tied=config.flag("tie_word_embeddings", default=False),
    )
