"""RoBERTa and XLM-RoBERTa: BGE-M3, BGE rerankers, multilingual E5, all-roberta. Positions start after the padding id."""

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
    lm_head,
    pooler,
    read_shape,
    simple_head,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("roberta", "xlm-roberta")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a RoBERTa config."""
    default = "XLMRobertaModel" if config.model_type == "xlm-roberta" else "RobertaModel"
    return encoder_spec(config, _build, default_class=default)


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """RobertaModel with its head. Class defaults: RobertaConfig, transformers 5.23."""
    shape = read_shape(config, vocab=30522 if config.model_type == "xlm-roberta" else 50265)
    model = tensors.at("" if head == "none" else "roberta")
    bert_embeddings(model, shape, types=config.size("type_vocab_size", default=2, minimum=0), type_buffer=True)
    bert_layers(model, shape)
    if head == "none":
        pooler(model, shape.hidden_dim)
    tied = config.flag("tie_word_embeddings", default=True)
    if head in ("masked-lm", "pretraining"):
        lm_head(tensors, shape, tied=tied)
    if head == "sequence":
        dense_classifier(tensors, shape.hidden_dim, labels_of(config))
    simple_head(config, tensors, shape.hidden_dim, head)
    max_tokens = usable_positions(config, shape.position_rows)
    return EncoderModel(
        stack=encoder_stack(config, shape, max_tokens=max_tokens),
        vocab_size=shape.vocab_size,
        max_tokens=max_tokens,
        tied=tied,
    )


def usable_positions(config: ConfigReader, rows: int) -> int:
    """Tokens that a table of `rows` positions serves: the first real token has position pad_token_id + 1 (514 -> 512)."""
    first = config.size("pad_token_id", default=1, null=1, minimum=0) + 1
    if rows <= first:
        raise config.wrong("max_position_embeddings", f"more than pad_token_id + 1 ({first})", rows)
    return rows - first
