"""OLMo 2: a Llama with its norms after attention and feed-forward, and on all queries and keys at once."""

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
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("olmo2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Olmo2 config."""
    return causal_lm(config, text_model, default_class="Olmo2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Olmo2Model. Class defaults: Olmo2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=50304)
    ffn = config.core("intermediate_size", class_default=11008)
    heads = read_heads(config, hidden, heads=32)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.norm("self_attn.q_norm", heads.query * heads.dim)
    layer.norm("self_attn.k_norm", heads.kv * heads.dim)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("post_attention_layernorm", hidden)
    layer.norm("post_feedforward_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
    )
