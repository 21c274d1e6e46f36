"""Llama-Nemotron Super and Ultra (DeciLM): a Llama from which a search removed attentions and narrowed feed-forwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    Heads,
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    gated_mlp_tensors,
    rope_limit,
    stack_of,
)
from fmkit.model.architectures.remote import NOTE
from fmkit.model.recurrent import NoMixer
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("nemotron-nas",)
FFN_MULTIPLE = 256
"""Feed-forwards are rounded up to a multiple of this (the repository's block_config.py)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeciLM config."""
    return causal_lm(config, text_model, default_class="DeciLMForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """DeciLMModel of the repository; 49,867,145,216 parameters for Llama-3.3-Nemotron-Super-49B, as published."""
    hidden, vocab = config.size("hidden_size"), config.size("vocab_size")
    layers, query = config.layers("num_hidden_layers", class_default=80), config.size("num_attention_heads")
    configs = config.parts("block_configs")
    if len(configs) != layers:
        raise config.wrong("block_configs", f"one item for each of {layers} layers", f"{len(configs)} items")
    tensors.embedding("embed_tokens", vocab, hidden)
    blocks = [_block(block, tensors.at("layers.*"), hidden, query) for block in configs]
    tensors.norm("norm", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, blocks),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=(NOTE,),
    )


def _block(config: ConfigReader, layer: Tensors, hidden: int, query: int) -> tuple[Mixer, Mlp | None]:
    attention, ffn = config.part("attention"), config.part("ffn")
    for half in (attention, ffn):
        if half.flag("replace_with_linear", default=False) or half.has("sparsify"):
            raise config.unknown("a block replaced by one matrix, or a sparse one, is not understood")
    if attention.has("window_length") or attention.has("num_sink_tokens"):
        raise config.unknown("a block with a window or sinks is not understood")
    mixer: Mixer = NoMixer()
    if not attention.flag("no_op", default=False):
        layer.norm("input_layernorm", hidden)
        group = attention.size("n_heads_in_group")
        heads = Heads(
            query=query,
            kv=attention.divide("n_heads_in_group", query, "the heads of a group", group),
            dim=config.divide("hidden_size", hidden, "num_attention_heads", query),
        )
        attention_tensors(layer, hidden, heads)
        mixer = causal(heads, None)
    if ffn.flag("no_op", default=False):
        return mixer, None
    layer.norm("post_attention_layernorm", hidden)
    width = int(2 * ffn.number("ffn_mult", 1.0) * hidden / 3)
    width = max(1, -(-width // FFN_MULTIPLE)) * FFN_MULTIPLE
    gated_mlp_tensors(layer, hidden, width)
    return mixer, Mlp(ffn_dim=width, gated=True)
