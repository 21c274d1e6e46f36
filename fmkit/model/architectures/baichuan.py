"""Baichuan 1 and 2: a Llama with one fused projection and a key head for every query head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, gated_mlp_tensors, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("baichuan",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Baichuan config."""
    return causal_lm(config, text_model, default_class="BaichuanForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """BaichuanModel of the repository; 7,505,973,248 parameters for Baichuan2-7B, as published."""
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=32)
    vocab, ffn = config.size("vocab_size"), config.size("intermediate_size")
    query = config.size("num_attention_heads")
    heads = Heads(query=query, kv=query, dim=config.divide("hidden_size", hidden, "num_attention_heads", query))
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.linear("self_attn.W_pack", 3 * hidden, hidden, part="attention")
    layer.linear("self_attn.o_proj", hidden, hidden, part="attention")
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("model_max_length") or config.optional_size("max_position_embeddings"),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=(NOTE,),
    )
