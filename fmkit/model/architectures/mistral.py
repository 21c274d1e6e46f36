"""Mistral, Ministral, Nemo, Zephyr, BioMistral, Yarn-Mistral: Llama with a sliding window, or with none where it is null."""

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

MODEL_TYPES = ("mistral",)
DEFAULT_WINDOW_TOKENS = 4096
"""Default of MistralConfig, transformers 5.23, where the field is absent; null means no window."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Mistral config."""
    return causal_lm(config, text_model, default_class="MistralForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MistralModel. Class defaults: MistralConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32000)
    ffn = config.core("intermediate_size", class_default=14336)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    window = config.size("sliding_window", default=DEFAULT_WINDOW_TOKENS, null=0) or None
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, w), mlp) for w in windows_of(config, layers, window)]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
    )
