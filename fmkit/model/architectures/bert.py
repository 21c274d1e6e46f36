"""BERT and all of its shape: BioBERT, LegalBERT, PubMedBERT, SciBERT, MiniLM, BGE, E5, GTE, MS-MARCO cross-encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of
from fmkit.model.architectures.encoder import (
    EncoderModel,
    bert_embeddings,
    bert_layers,
    encoder_spec,
    encoder_stack,
    pooler,
    prediction_head,
    read_shape,
    simple_head,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("bert",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a BERT config."""
    return encoder_spec(config, _build, default_class="BertModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """BertModel with its head. Class defaults: BertConfig, transformers 5.23."""
    shape = read_shape(config, vocab=30522)
    hidden = shape.hidden_dim
    model = tensors.at("" if head == "none" else "bert")
    bert_embeddings(model, shape, types=config.size("type_vocab_size", default=2, minimum=0), type_buffer=True)
    bert_layers(model, shape)
    if head in ("none", "sequence", "pretraining"):
        pooler(model, hidden)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("masked-lm", "pretraining"):
        prediction_head(tensors, shape, tied=tied)
    if head == "pretraining":
        tensors.linear("cls.seq_relationship", 2, hidden, bias=True, part="projector")
    if head == "sequence":
        tensors.linear("classifier", labels_of(config), hidden, bias=True, part="projector")
    simple_head(config, tensors, hidden, head)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=shape.position_rows),
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
    )
