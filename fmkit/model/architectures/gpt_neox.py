"""Pythia, GPT-NeoX, RedPajama-INCITE: fused projections, a quarter of each head rotated."""

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
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gpt_neox",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a GPTNeoX config."""
    return causal_lm(config, text_model, default_class="GPTNeoXForCausalLM", prefix="gpt_neox")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GPTNeoXModel. Class defaults: GPTNeoXConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=6144)
    layers = config.layers("num_hidden_layers", class_default=44)
    vocab = config.core("vocab_size", class_default=50432)
    ffn = config.core("intermediate_size", class_default=24576)
    heads = read_heads(config, hidden, heads=64)
    bias = config.flag("attention_bias", default=True)
    tensors.embedding("embed_in", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    layer.linear("attention.query_key_value", 3 * hidden, hidden, bias=bias, part="attention")
    layer.linear("attention.dense", hidden, hidden, bias=bias, part="attention")
    layer.linear("mlp.dense_h_to_4h", ffn, hidden, bias=True, part="mlp")
    layer.linear("mlp.dense_4h_to_h", hidden, ffn, bias=True, part="mlp")
    tensors.norm("final_layer_norm", hidden, bias=True)
    rotated = config.number("rotary_pct", 0.25)
    rotary_buffers(tensors, rotary_dims(config, heads.dim, default=min(1.0, rotated)))
    mlp = Mlp(ffn_dim=ffn, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
    )
