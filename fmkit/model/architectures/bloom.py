"""BLOOM: one fused projection, biases everywhere, ALiBi in place of positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("bloom",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a BLOOM config."""
    return causal_lm(config, text_model, default_class="BloomForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """BloomModel. Class defaults: BloomConfig, transformers 5.23."""
    hidden = config.core("hidden_size", "n_embed", class_default=64)
    layers = config.layers("n_layer", "num_hidden_layers", class_default=2)
    vocab = config.core("vocab_size", class_default=250880)
    query = config.core("n_head", "num_attention_heads", class_default=8)
    heads = Heads(query=query, kv=query, dim=config.divide("hidden_size", hidden, "n_head", query))
    tensors.embedding("word_embeddings", vocab, hidden)
    tensors.norm("word_embeddings_layernorm", hidden, bias=True)
    layer = tensors.at("h.*", count=layers)
    layer.norm("input_layernorm", hidden, bias=True)
    layer.linear("self_attention.query_key_value", 3 * hidden, hidden, bias=True, part="attention")
    layer.linear("self_attention.dense", hidden, hidden, bias=True, part="attention")
    layer.norm("post_attention_layernorm", hidden, bias=True)
    layer.linear("mlp.dense_h_to_4h", 4 * hidden, hidden, bias=True, part="mlp")
    layer.linear("mlp.dense_4h_to_h", hidden, 4 * hidden, bias=True, part="mlp")
    tensors.norm("ln_f", hidden, bias=True)
    mlp = Mlp(ffn_dim=4 * hidden, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("seq_length"),
        tied=config.flag("tie_word_embeddings", default=True),
        positions="alibi",
    )
