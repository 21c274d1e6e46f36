"""OPT: learned positions with two rows to spare, biases, a tied head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("opt",)
EXTRA_ROWS = 2
"""Rows of the position table that no position uses (OPTLearnedPositionalEmbedding)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an OPT config."""
    return causal_lm(config, text_model, default_class="OPTForCausalLM", inner="decoder")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """OPTDecoder. Class defaults: OPTConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    layers = config.layers("num_hidden_layers", class_default=12)
    vocab = config.core("vocab_size", class_default=50272)
    ffn = config.core("ffn_dim", class_default=3072)
    query = config.core("num_attention_heads", class_default=12)
    positions = config.core("max_position_embeddings", class_default=2048)
    width = config.optional_size("word_embed_proj_dim") or hidden
    heads = Heads(query=query, kv=query, dim=config.divide("hidden_size", hidden, "num_attention_heads", query))
    tensors.embedding("embed_tokens", vocab, width)
    tensors.embedding("embed_positions", positions + EXTRA_ROWS, hidden)
    if width != hidden:
        tensors.linear("project_out", width, hidden, part="embedding")
        tensors.linear("project_in", hidden, width, part="embedding")
    _layers(config, tensors.at("layers.*", count=layers), hidden, ffn)
    norms = config.flag("layer_norm_elementwise_affine", default=True)
    removed = config.flag("_remove_final_layer_norm", default=False)
    if norms and config.flag("do_layer_norm_before", default=True) and not removed:
        tensors.norm("final_layer_norm", hidden, bias=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=positions,
        context_is_hard=True,
        positions="learned",
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _layers(config: ConfigReader, layer: Tensors, hidden: int, ffn: int) -> None:
    bias = config.flag("enable_bias", default=True)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=bias, part="attention")
    layer.linear("fc1", ffn, hidden, bias=bias, part="mlp")
    layer.linear("fc2", hidden, ffn, bias=bias, part="mlp")
    if config.flag("layer_norm_elementwise_affine", default=True):
        layer.norm("self_attn_layer_norm", hidden, bias=True)
        layer.norm("final_layer_norm", hidden, bias=True)
