"""Phi-1, Phi-1.5, Phi-2: attention and feed-forward side by side, half of each head rotated, a biased head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    causal_lm,
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

MODEL_TYPES = ("phi",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Phi config."""
    return causal_lm(config, text_model, default_class="PhiForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """PhiModel. Class defaults: PhiConfig, transformers 5.23."""
    if config.flag("qk_layernorm", default=False):
        raise config.unknown("Phi with norms on queries and keys (qk_layernorm) is not understood")
    hidden = config.core("hidden_size", class_default=2048)
    layers = config.layers("num_hidden_layers", class_default=24)
    vocab = config.core("vocab_size", class_default=51200)
    ffn = config.core("intermediate_size", class_default=8192)
    heads = read_heads(config, hidden, heads=32)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    for name, width in (("q_proj", heads.query), ("k_proj", heads.kv), ("v_proj", heads.kv)):
        layer.linear(f"self_attn.{name}", width * heads.dim, hidden, bias=True, part="attention")
    layer.linear("self_attn.dense", hidden, heads.query * heads.dim, bias=True, part="attention")
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="mlp")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="mlp")
    layer.norm("input_layernorm", hidden, bias=True)
    tensors.norm("final_layernorm", hidden, bias=True)
    rotary_buffers(tensors, rotary_dims(config, heads.dim, default=0.5))
    mlp = Mlp(ffn_dim=ffn, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
        head_bias=True,
    )
