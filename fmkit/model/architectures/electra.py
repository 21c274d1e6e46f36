"""ELECTRA: BERT with an embedding narrower than its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    bert_embeddings,
    bert_layers,
    dense_classifier,
    encoder_spec,
    encoder_stack,
    read_shape,
    simple_head,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("electra",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an ELECTRA config."""
    return encoder_spec(config, _build, default_class="ElectraModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """ElectraModel with its head. Class defaults: ElectraConfig, transformers 5.23."""
    shape = read_shape(config, vocab=30522, hidden=256, heads=4, ffn=1024)
    hidden, width = shape.hidden_dim, config.size("embedding_size", default=128)
    model = tensors.at("" if head == "none" else "electra")
    types = config.size("type_vocab_size", default=2, minimum=0)
    bert_embeddings(model, shape, dim=width, types=types, type_buffer=True)
    if width != hidden:
        model.linear("embeddings_project", hidden, width, bias=True, part="embedding")
    bert_layers(model, shape)
    tied = config.flag("tie_word_embeddings", default=True)
    if head == "pretraining":
        tensors.linear("discriminator_predictions.dense", hidden, hidden, bias=True, part="projector")
        tensors.linear("discriminator_predictions.dense_prediction", 1, hidden, bias=True, part="projector")
    if head == "masked-lm":
        tensors.norm("generator_predictions.LayerNorm", width, bias=True)
        tensors.linear("generator_predictions.dense", width, hidden, bias=True, part="projector")
        if tied:
            tensors.linear_bias("generator_lm_head", shape.vocab_size, part="head")
        else:
            tensors.linear("generator_lm_head", shape.vocab_size, width, bias=True, part="head")
    if head == "sequence":
        dense_classifier(tensors, hidden, labels_of(config))
    simple_head(config, tensors, hidden, head)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=shape.position_rows),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
    )
