"""BioGPT: GPT-2's shape with learned positions, in separate projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("biogpt",)
POSITION_OFFSET = 2
"""Rows of the position table before the first position (BioGptLearnedPositionalEmbedding, transformers 5.23)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a BioGPT config."""
    bare = config.class_name == "BioGptModel"
    return causal_lm(config, text_model, default_class="BioGptForCausalLM", prefix="" if bare else "biogpt")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """BioGptModel. Class defaults: BioGptConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1024)
    layers = config.layers("num_hidden_layers", class_default=24)
    vocab = config.core("vocab_size", class_default=42384)
    ffn = config.core("intermediate_size", class_default=4096)
    positions = config.core("max_position_embeddings", class_default=1024)
    query = config.core("num_attention_heads", class_default=16)
    heads = Heads(query=query, kv=query, dim=config.divide("hidden_size", hidden, "num_attention_heads", query))
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.embedding("embed_positions", positions + POSITION_OFFSET, hidden)
    layer = tensors.at("layers.*", count=layers)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=True, part="attention")
    layer.norm("self_attn_layer_norm", hidden, bias=True)
    layer.linear("fc1", ffn, hidden, bias=True, part="mlp")
    layer.linear("fc2", hidden, ffn, bias=True, part="mlp")
    layer.norm("final_layer_norm", hidden, bias=True)
    tensors.norm("layer_norm", hidden, bias=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=positions,
        context_is_hard=True,
        tied=config.flag("tie_word_embeddings", default=True),
        positions="learned",
        head_name="output_projection",
    )
