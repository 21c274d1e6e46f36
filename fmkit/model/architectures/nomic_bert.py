"""Nomic Embed: a BERT with rotary positions and gated feed-forwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, attention_tensors, gated_mlp_tensors, rotary_buffers
from fmkit.model.architectures.encoder import EncoderModel, encoder_spec, encoder_stack, read_shape

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("nomic_bert",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Nomic BERT config."""
    return encoder_spec(config, _build, default_class="NomicBertModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """NomicBertModel. Class defaults: NomicBertConfig, transformers 5.23."""
    if head != "none":
        raise config.unknown("NomicBert with a head is not understood; known: NomicBertModel")
    shape = read_shape(config, vocab=30528)
    hidden = shape.hidden_dim
    dim = config.divide("hidden_size", hidden, "num_attention_heads", shape.heads)
    embeddings = tensors.at("embeddings")
    embeddings.embedding("word_embeddings", shape.vocab_size, hidden)
    types = config.size("type_vocab_size", default=2, minimum=0)
    if types:
        embeddings.embedding("token_type_embeddings", types, hidden)
    embeddings.norm("LayerNorm", hidden, bias=True)
    embeddings.buffer("position_ids", (1, shape.position_rows), dtype="int64")
    embeddings.buffer("token_type_ids", (1, shape.position_rows), dtype="int64")
    layer = tensors.at("layers.*", count=shape.layers)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    layer.norm("post_mlp_layernorm", hidden, bias=True)
    attention_tensors(layer, hidden, Heads(query=shape.heads, kv=shape.heads, dim=dim))
    gated_mlp_tensors(layer, hidden, shape.ffn_dim)
    rotary_buffers(tensors, dim)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=shape.position_rows, gated=True),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=False,
        positions="rope",
        context_is_hard=False,
    )
