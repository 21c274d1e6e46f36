"""Phi-3-small: biases everywhere, a gated GELU, every other layer block-sparse; all of them cache all tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal, causal_lm, read_heads, rope_limit, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("phi3small",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Phi-3-small config."""
    return causal_lm(config, text_model, default_class="Phi3SmallForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Phi3SmallModel of the repository: 7,392,272,384 parameters.

    The published 7,392,274,432 hold the rotary tables of the 32 layers, too: 64 entries each, a buffer here.
    """
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=32)
    vocab, ffn = config.size("vocab_size"), config.size("ff_intermediate_size")
    heads = read_heads(config, hidden, heads=32)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    fused = (heads.query + 2 * heads.kv) * heads.dim
    layer.linear("self_attn.query_key_value", fused, hidden, bias=True, part="attention")
    layer.linear("self_attn.dense", hidden, heads.query * heads.dim, bias=True, part="attention")
    layer.buffer("self_attn.rotary_emb.inv_freq", (heads.dim // 2,), dtype=None)
    layer.linear("mlp.up_proj", 2 * ffn, hidden, bias=True, part="mlp")
    layer.linear("mlp.down_proj", hidden, ffn, bias=True, part="mlp")
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    tensors.norm("final_layernorm", hidden, bias=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=8192),
        tied=config.flag("tie_word_embeddings", default=True),
        notes=(NOTE, "block-sparse layers are counted as full attention: they cache all tokens"),
    )
