"""ALBERT: one layer's weights used over and over, behind a narrow embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    bert_embeddings,
    encoder_spec,
    encoder_stack,
    read_shape,
    simple_head,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import EncoderShape, Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("albert",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an ALBERT config."""
    if config.class_name == "AlbertForPreTraining":
        raise config.unknown("class 'AlbertForPreTraining' is not understood")
    return encoder_spec(config, _build, default_class="AlbertModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """AlbertModel with its head. Class defaults: AlbertConfig, transformers 5.23."""
    shape = read_shape(config, vocab=30000, hidden=4096, heads=64, ffn=16384)
    hidden, width = shape.hidden_dim, config.size("embedding_size", default=128)
    model = tensors.at("" if head == "none" else "albert")
    types = config.size("type_vocab_size", default=2, minimum=0)
    bert_embeddings(model, shape, dim=width, types=types, type_buffer=True)
    model.linear("encoder.embedding_hidden_mapping_in", hidden, width, bias=True, part="embedding")
    groups, inner = config.size("num_hidden_groups", default=1), config.size("inner_group_num", default=1)
    _layer(model.at("encoder.albert_layer_groups.*.albert_layers.*", count=groups * inner), shape)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("none", "sequence"):
        model.linear("pooler", hidden, hidden, bias=True, part="projector")
    if head == "masked-lm":
        predictions = tensors.at("predictions")
        predictions.norm("LayerNorm", width, bias=True)
        predictions.parameter("bias", (shape.vocab_size,), part="head")
        predictions.linear("dense", width, hidden, bias=True, part="projector")
        if not tied:
            predictions.linear("decoder", shape.vocab_size, width, bias=True, part="head")
    if head == "sequence":
        tensors.linear("classifier", labels_of(config), hidden, bias=True, part="projector")
    simple_head(config, tensors, hidden, head)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=shape.position_rows),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
    )


def _layer(layer: Tensors, shape: EncoderShape) -> None:
    hidden = shape.hidden_dim
    layer.norm("full_layer_layer_norm", hidden, bias=True)
    for name in ("query", "key", "value", "dense"):
        layer.linear(f"attention.{name}", hidden, hidden, bias=True, part="attention")
    layer.norm("attention.LayerNorm", hidden, bias=True)
    layer.linear("ffn", shape.ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("ffn_output", hidden, shape.ffn_dim, bias=True, part="mlp")
