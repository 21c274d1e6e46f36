"""Aya 23, Aya Expanse and Command R (cohere); Command R7B and Command A (cohere2, three of four layers sliding)."""

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
    stack_of,
    windows_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("cohere", "cohere2")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Cohere config."""
    default = "Cohere2ForCausalLM" if config.model_type == "cohere2" else "CohereForCausalLM"
    return causal_lm(config, text_model, default_class=default)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """CohereModel or Cohere2Model: one norm a layer, without a bias. Class defaults: CohereConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=8192)
    layers = config.layers("num_hidden_layers", class_default=40)
    vocab = config.core("vocab_size", class_default=256000)
    ffn = config.core("intermediate_size", class_default=22528)
    heads = read_heads(config, hidden, heads=64)
    bias = config.flag("attention_bias", default=False)
    second = config.model_type == "cohere2"
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    if not second and config.flag("use_qk_norm", default=False):
        layer.norm("self_attn.q_norm", heads.query, heads.dim)
        layer.norm("self_attn.k_norm", heads.kv, heads.dim)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, heads.dim)
    windows = _windows(config, layers) if second else [None] * layers
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=8192),
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """Every fourth layer full, the others sliding: default of Cohere2Config, transformers 5.23."""
    pattern = config.size("sliding_window_pattern", default=4, null=4)
    default = ["sliding_attention" if (layer + 1) % pattern else "full_attention" for layer in range(layers)]
    window = config.size("sliding_window", default=4096, null=0) or None
    return windows_of(config, layers, window, default=default)
