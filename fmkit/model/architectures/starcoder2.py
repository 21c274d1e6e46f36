"""StarCoder2: LayerNorms, biases, an ungated feed-forward, optionally a sliding window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
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

MODEL_TYPES = ("starcoder2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Starcoder2 config."""
    return causal_lm(config, text_model, default_class="Starcoder2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Starcoder2Model. Class defaults: Starcoder2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=3072)
    layers = config.layers("num_hidden_layers", class_default=30)
    vocab = config.core("vocab_size", class_default=49152)
    ffn = config.core("intermediate_size", class_default=12288)
    heads = read_heads(config, hidden, heads=24, kv_heads=2)
    bias = config.flag("use_bias", default=True)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.linear("mlp.c_fc", ffn, hidden, bias=bias, part="mlp")
    layer.linear("mlp.c_proj", hidden, ffn, bias=bias, part="mlp")
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    tensors.norm("norm", hidden, bias=True)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    windows = windows_of(config, layers, config.optional_size("sliding_window"))
    mlp = Mlp(ffn_dim=ffn, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=4096),
        tied=config.flag("tie_word_embeddings", default=True),
    )
