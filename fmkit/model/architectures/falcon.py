"""Falcon 7B and 40B (Falcon 3 is a Llama): multi-query or grouped heads, attention and feed-forward side by side.

Its linear layers are of a class of its own (`FalconLinear`), which bitsandbytes in transformers 5.23 leaves alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal_lm, rope_limit, rotary_buffers, stack_of
from fmkit.model.attention import FullAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("falcon",)
UNQUANTISED_NOTE = "bitsandbytes leaves Falcon's linear layers at 16 bit: they are a subclass (FalconLinear)"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Falcon config."""
    return causal_lm(config, text_model, default_class="FalconForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """FalconModel. Class defaults: FalconConfig, transformers 5.23."""
    hidden = config.core("hidden_size", "n_embed", class_default=4544)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=65024)
    ffn = config.optional_size("ffn_hidden_size") or 4 * hidden
    attention = _attention(config, hidden)
    alibi = config.flag("alibi", default=False)
    bias = config.flag("bias", default=False)
    tensors.embedding("word_embeddings", vocab, hidden)
    layer = tensors.at("h.*", count=layers, quantisable=False)
    fused = (attention.query_heads + 2 * attention.kv_heads) * attention.key_dim
    layer.linear("self_attention.query_key_value", fused, hidden, bias=bias, part="attention")
    layer.linear("self_attention.dense", hidden, hidden, bias=bias, part="attention")
    layer.linear("mlp.dense_h_to_4h", ffn, hidden, bias=bias, part="mlp")
    layer.linear("mlp.dense_4h_to_h", hidden, ffn, bias=bias, part="mlp")
    norms = _norms(config)
    for norm in norms:
        layer.norm(norm, hidden, bias=True)
    tensors.norm("ln_f", hidden, bias=True)
    rotary_buffers(tensors, attention.key_dim)
    return TextModel(
        stack=stack_of(
            "decoder",
            hidden,
            [(attention, Mlp(ffn_dim=ffn, gated=False))] * layers,
            implementation="falcon-one-norm" if len(norms) == 1 else None,
        ),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        positions="alibi" if alibi else "rope",
        tied=config.flag("tie_word_embeddings", default=True),
        notes=(UNQUANTISED_NOTE,),
    )


def _attention(config: ConfigReader, hidden: int) -> FullAttention:
    """One KV head in the old multi-query form; `num_kv_heads` groups in the new one.

    In the new form transformers 5.23 repeats keys and values to all query heads before it caches them.
    """
    query = config.core("num_attention_heads", "n_head", class_default=71)
    new = config.flag("new_decoder_architecture", default=False)
    kv = config.optional_size("num_kv_heads") or query
    if not new and config.flag("multi_query", default=True):
        kv = 1
    if query % kv:
        raise config.wrong("num_kv_heads", f"a divisor of the {query} attention heads", kv)
    dim = config.divide("hidden_size", hidden, "num_attention_heads", query)
    return FullAttention(
        query_heads=query, kv_heads=kv, key_dim=dim, value_dim=dim, cached_heads=query if new and kv != query else None
    )


def _norms(config: ConfigReader) -> tuple[str, ...]:
    if not config.flag("parallel_attn", default=True):
        return ("post_attention_layernorm", "input_layernorm")
    new = config.flag("new_decoder_architecture", default=False)
    count = config.optional_size("num_ln_in_parallel_attn", minimum=0)
    if (2 if count is None and new else count) == 2:
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",)
