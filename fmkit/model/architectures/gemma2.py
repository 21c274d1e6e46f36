"""Gemma 2: every other layer with a sliding window, four norms a layer."""

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
    windows_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gemma2",)
LAYER_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Gemma 2 config."""
    return causal_lm(config, text_model, default_class="Gemma2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Gemma2Model. Class defaults: Gemma2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2304)
    layers = config.layers("num_hidden_layers", class_default=26)
    vocab = config.core("vocab_size", class_default=256000)
    ffn = config.core("intermediate_size", class_default=9216)
    heads = read_heads(config, hidden, heads=8, kv_heads=4, head_dim=256)
    window = config.size("sliding_window", default=4096, null=0) or None
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype=None)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn)
    for norm in LAYER_NORMS:
        layer.norm(norm, hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    alternating = ["full_attention" if layer_id % 2 else "sliding_attention" for layer_id in range(layers)]
    mlp = Mlp(ffn_dim=ffn, gated=True)
    windows = windows_of(config, layers, window, default=alternating)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, w), mlp) for w in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=8192),
        tied=config.flag("tie_word_embeddings", default=True),
    )
