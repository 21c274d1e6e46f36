"""Qwen1.5, Qwen2, Qwen2.5, Qwen2.5-Coder, R1-Distill-Qwen: Llama with biases on queries, keys and values."""

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

MODEL_TYPES = ("qwen2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen2 config."""
    return causal_lm(config, text_model, default_class="Qwen2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Qwen2Model. Class defaults: Qwen2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=151936)
    ffn = config.core("intermediate_size", class_default=22016)
    heads = read_heads(config, hidden, heads=32, kv_heads=32)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=True)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in qwen_windows(config, layers)]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def qwen_windows(config: ConfigReader, layers: int) -> list[int | None]:
    """The window of each layer: none unless `use_sliding_window`, and then from layer `max_window_layers` on.

    Source: Qwen2Config and Qwen3Config, transformers 5.23; `sliding_window` is set in most Qwen configs and unused.
    """
    window = None
    if config.flag("use_sliding_window", default=False):
        window = config.size("sliding_window", default=4096, null=0) or None
    first = config.size("max_window_layers", default=28, minimum=0)
    default = ["sliding_attention" if window and layer >= first else "full_attention" for layer in range(layers)]
    return windows_of(config, layers, window, default=default)
