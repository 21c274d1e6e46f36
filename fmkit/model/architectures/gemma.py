"""Gemma 1: Llama with a head width of its own, a scaled embedding and a tied head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gemma",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Gemma config."""
    return causal_lm(config, text_model, default_class="GemmaForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GemmaModel. Class defaults: GemmaConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=3072)
    layers = config.layers("num_hidden_layers", class_default=28)
    vocab = config.core("vocab_size", class_default=256000)
    ffn = config.core("intermediate_size", class_default=24576)
    heads = read_heads(config, hidden, heads=16, kv_heads=16, head_dim=256)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype=None)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=8192),
        tied=config.flag("tie_word_embeddings", default=True),
    )
