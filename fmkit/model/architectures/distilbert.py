"""DistilBERT: BERT with half the layers, no token types, no pooler, and names of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    EncoderShape,
    bert_embeddings,
    encoder_spec,
    encoder_stack,
    simple_head,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("distilbert",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DistilBERT config."""
    return encoder_spec(config, _build, default_class="DistilBertModel")


def _shape(config: ConfigReader) -> EncoderShape:
    """The sizes. Class defaults: DistilBertConfig, transformers 5.23."""
    return EncoderShape(
        hidden_dim=config.core("dim", "hidden_size", class_default=768),
        layers=config.layers("n_layers", "num_hidden_layers", class_default=6),
        heads=config.core("n_heads", "num_attention_heads", class_default=12),
        ffn_dim=config.core("hidden_dim", class_default=3072),
        vocab_size=config.core("vocab_size", class_default=30522),
        position_rows=config.core("max_position_embeddings", class_default=512),
    )


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    shape = _shape(config)
    hidden = shape.hidden_dim
    model = tensors.at("" if head == "none" else "distilbert")
    bert_embeddings(model, shape)
    layer = model.at("transformer.layer.*", count=shape.layers)
    for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
        layer.linear(f"attention.{name}", hidden, hidden, bias=True, part="attention")
    layer.norm("sa_layer_norm", hidden, bias=True)
    layer.linear("ffn.lin1", shape.ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("ffn.lin2", hidden, shape.ffn_dim, bias=True, part="mlp")
    layer.norm("output_layer_norm", hidden, bias=True)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("masked-lm", "pretraining"):
        _masked_lm_head(tensors, shape, tied=tied)
    if head == "sequence":
        tensors.linear("pre_classifier", hidden, hidden, bias=True, part="projector")
        tensors.linear("classifier", labels_of(config), hidden, bias=True, part="projector")
    simple_head(config, tensors, hidden, head)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=shape.position_rows),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
    )


def _masked_lm_head(tensors: Tensors, shape: EncoderShape, *, tied: bool) -> None:
    tensors.linear("vocab_transform", shape.hidden_dim, shape.hidden_dim, bias=True, part="projector")
    tensors.norm("vocab_layer_norm", shape.hidden_dim, bias=True)
    if tied:
        tensors.linear_bias("vocab_projector", shape.vocab_size, part="head")
    else:
        tensors.linear("vocab_projector", shape.vocab_size, shape.hidden_dim, bias=True, part="head")
