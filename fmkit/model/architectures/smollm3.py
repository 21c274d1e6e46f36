"""SmolLM3: a Llama with rotary positions in three of four layers."""

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

MODEL_TYPES = ("smollm3",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a SmolLM3 config."""
    return causal_lm(config, text_model, default_class="SmolLM3ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """SmolLM3Model. Class defaults: SmolLM3Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2048)
    layers = config.layers("num_hidden_layers", class_default=36)
    vocab = config.core("vocab_size", class_default=128256)
    ffn = config.core("intermediate_size", class_default=11008)
    heads = read_heads(config, hidden, heads=16, kv_heads=4)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False))
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    windows = _windows(config, layers)
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """No windows, unless `use_sliding_window`: then in the layers without rotary positions."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window", default=False) else None
    interval = config.size("no_rope_layer_interval", default=4)
    named = config.sizes("no_rope_layers")
    rotated = named if named is not None else [int((layer + 1) % interval != 0) for layer in range(layers)]
    if len(rotated) != layers:
        raise config.wrong("no_rope_layers", f"one item for each of {layers} layers", f"{len(rotated)} items")
    default = ["full_attention" if has_rope or window is None else "sliding_attention" for has_rope in rotated]
    return windows_of(config, layers, window, default=default)
