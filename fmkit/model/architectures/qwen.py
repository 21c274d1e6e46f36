"""Qwen 1: fused projections with biases; `intermediate_size` counts both halves of the gated feed-forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("qwen",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen 1 config."""
    return causal_lm(config, text_model, default_class="QWenLMHeadModel", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """QWenModel of the repository; 7,721,324,544 parameters for Qwen-7B, as published."""
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=32)
    vocab, query = config.size("vocab_size"), config.size("num_attention_heads")
    ffn = config.divide("intermediate_size", config.size("intermediate_size"), "the halves of a gate", 2)
    dim = config.optional_size("kv_channels") or config.divide("hidden_size", hidden, "num_attention_heads", query)
    bias = not config.flag("no_bias", default=True)
    heads = Heads(query=query, kv=query, dim=dim)
    tensors.embedding("wte", vocab, hidden)
    layer = tensors.at("h.*", count=layers)
    layer.norm("ln_1", hidden)
    layer.linear("attn.c_attn", 3 * query * dim, hidden, bias=True, part="attention")
    layer.linear("attn.c_proj", hidden, query * dim, bias=bias, part="attention")
    layer.norm("ln_2", hidden)
    layer.linear("mlp.w1", ffn, hidden, bias=bias, part="mlp")
    layer.linear("mlp.w2", ffn, hidden, bias=bias, part="mlp")
    layer.linear("mlp.c_proj", hidden, ffn, bias=bias, part="mlp")
    tensors.norm("ln_f", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("max_position_embeddings") or config.optional_size("seq_length"),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=(NOTE,),
    )
