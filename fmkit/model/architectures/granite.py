"""Granite 3: a Llama whose sums are scaled by constants of the config."""

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

MODEL_TYPES = ("granite",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Granite config."""
    return causal_lm(config, text_model, default_class="GraniteForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GraniteModel. Class defaults: GraniteConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32000)
    ffn = config.core("intermediate_size", class_default=11008)
    heads = read_heads(config, hidden, heads=32)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False))
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
    )
