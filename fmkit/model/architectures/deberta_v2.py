"""DeBERTa v2 and v3, mDeBERTa: attention with relative positions, optionally a convolution beside the first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of, stack_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    bert_feed_forward,
    encoder_spec,
    prediction_head,
    read_shape,
    simple_head,
)
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import EncoderShape, Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("deberta-v2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeBERTa v2 or v3 config."""
    return encoder_spec(config, _build, default_class="DebertaV2Model")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """DebertaV2Model with its head. Class defaults: DebertaV2Config, transformers 5.23."""
    shape = read_shape(config, vocab=128100, hidden=1536, layers=24, heads=24, ffn=6144)
    hidden = shape.hidden_dim
    head_dim = config.optional_size("attention_head_size") or config.divide(
        "hidden_size", hidden, "num_attention_heads", shape.heads
    )
    relative = config.flag("relative_attention", default=False)
    absolute = config.flag("position_biased_input", default=True)
    model = tensors.at("" if head == "none" else "deberta")
    _embeddings(config, model, shape, absolute=absolute)
    _layers(config, model, shape, head_dim, relative=relative)
    _encoder_extras(config, model, shape, relative=relative)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("masked-lm", "pretraining"):
        prediction_head(tensors, shape, tied=tied)
    if head == "sequence":
        width = config.size("pooler_hidden_size", default=hidden)
        tensors.linear("pooler.dense", width, width, bias=True, part="projector")
        tensors.linear("classifier", labels_of(config), hidden, bias=True, part="projector")
    simple_head(config, tensors, hidden, head)
    attention = EncoderAttention(query_heads=shape.heads, kv_heads=shape.heads, key_dim=head_dim, value_dim=head_dim)
    layers = [(attention, Mlp(ffn_dim=shape.ffn_dim, gated=False))] * shape.layers
    return EncoderModel(
        stack=stack_of("encoder", hidden, layers, max_tokens=shape.position_rows),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
        positions="relative" if relative else "learned",
        context_is_hard=absolute,
    )


def _embeddings(config: ConfigReader, model: Tensors, shape: EncoderShape, *, absolute: bool) -> None:
    embeddings, hidden = model.at("embeddings"), shape.hidden_dim
    width = config.size("embedding_size", default=hidden)
    embeddings.embedding("word_embeddings", shape.vocab_size, width)
    if absolute:
        embeddings.embedding("position_embeddings", shape.position_rows, width)
    types = config.size("type_vocab_size", default=0, minimum=0)
    if types:
        embeddings.embedding("token_type_embeddings", types, width)
    if width != hidden:
        embeddings.linear("embed_proj", hidden, width, part="embedding")
    embeddings.norm("LayerNorm", hidden, bias=True)
    embeddings.buffer("position_ids", (1, shape.position_rows), dtype="int64")


def _layers(config: ConfigReader, model: Tensors, shape: EncoderShape, head_dim: int, *, relative: bool) -> None:
    layer, hidden, inner = model.at("encoder.layer.*", count=shape.layers), shape.hidden_dim, shape.heads * head_dim
    names = ["query_proj", "key_proj", "value_proj"]
    if relative and not config.flag("share_att_key", default=False):
        # A list in most configs, "c2p|p2c" in old ones.
        old = config.optional_text("pos_att_type") if not config.is_list("pos_att_type") else None
        kinds = old.split("|") if old is not None else config.texts("pos_att_type") or ()
        names += [name for kind, name in (("c2p", "pos_key_proj"), ("p2c", "pos_query_proj")) if kind in kinds]
    for name in names:
        layer.linear(f"attention.self.{name}", inner, hidden, bias=True, part="attention")
    layer.linear("attention.output.dense", hidden, hidden, bias=True, part="attention")
    layer.norm("attention.output.LayerNorm", hidden, bias=True)
    bert_feed_forward(layer, hidden, shape.ffn_dim)


def _encoder_extras(config: ConfigReader, model: Tensors, shape: EncoderShape, *, relative: bool) -> None:
    """The table of relative positions, its norm and the convolution."""
    encoder, hidden = model.at("encoder"), shape.hidden_dim
    if relative:
        encoder.embedding("rel_embeddings", 2 * _relative_rows(config, shape), hidden)
    if "layer_norm" in (config.optional_text("norm_rel_ebd") or "none").lower():
        encoder.norm("LayerNorm", hidden, bias=True)
    kernel = config.size("conv_kernel_size", default=0, null=0, minimum=0)
    if kernel:
        groups = config.size("conv_groups", default=1)
        inputs = config.divide("hidden_size", hidden, "conv_groups", groups)
        encoder.conv("conv.conv", (hidden, inputs, kernel), bias=True, part="mlp")
        encoder.norm("conv.LayerNorm", hidden, bias=True)


def _relative_rows(config: ConfigReader, shape: EncoderShape) -> int:
    """Distances in one direction: the buckets, or the longest distance, -1 in either meaning unset."""
    for name in ("position_buckets", "max_relative_positions"):
        rows = config.size(name, default=-1, null=-1, minimum=-1)
        if rows > 0:
            return rows
    return shape.position_rows
