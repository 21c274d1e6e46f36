"""MPNet (all-mpnet-base-v2): BERT with a relative position bias shared by all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    bert_embeddings,
    bert_feed_forward,
    dense_classifier,
    encoder_spec,
    encoder_stack,
    lm_head,
    pooler,
    read_shape,
    simple_head,
)
from fmkit.model.architectures.roberta import usable_positions

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mpnet",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an MPNet config."""
    return encoder_spec(config, _build, default_class="MPNetModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """MPNetModel with its head. Class defaults: MPNetConfig, transformers 5.23."""
    shape = read_shape(config, vocab=30527)
    hidden = shape.hidden_dim
    model = tensors.at("" if head == "none" else "mpnet")
    bert_embeddings(model, shape)
    layer = model.at("encoder.layer.*", count=shape.layers)
    for name in ("q", "k", "v", "o"):
        layer.linear(f"attention.attn.{name}", hidden, hidden, bias=True, part="attention")
    layer.norm("attention.LayerNorm", hidden, bias=True)
    bert_feed_forward(layer, hidden, shape.ffn_dim)
    buckets = config.size("relative_attention_num_buckets", default=32)
    model.embedding("encoder.relative_attention_bias", buckets, shape.heads)
    if head == "none":
        pooler(model, hidden)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("masked-lm", "pretraining"):
        lm_head(tensors, shape, tied=tied)
    if head == "sequence":
        dense_classifier(tensors, hidden, labels_of(config))
    simple_head(config, tensors, hidden, head)
    max_tokens = usable_positions(config, shape.position_rows)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=max_tokens),
        vocab_size=shape.vocab_size,
        max_tokens=max_tokens,
        tied=tied,
    )
