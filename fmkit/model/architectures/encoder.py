"""What the encoders of the BERT family share: post-norm layers, masked-language and classification heads, the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import config_dtype, labels_of, stack_of, unknown_class
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Positions
    from fmkit.model.spec import Stack

Head = Literal["none", "masked-lm", "sequence", "token", "question", "pretraining"]
_SUFFIXES: dict[str, Head] = {
    "Model": "none",
    "ForMaskedLM": "masked-lm",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForQuestionAnswering": "question",
    "ForPreTraining": "pretraining",
}


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """The sizes of an encoder of the BERT family."""

    hidden_dim: int
    layers: int
    heads: int
    ffn_dim: int
    vocab_size: int
    position_rows: int


@dataclass(frozen=True, kw_only=True)
class EncoderModel:
    """An encoder with its head, once its tensors are built."""

    stack: Stack
    vocab_size: int
    max_tokens: int
    tied: bool
    positions: Positions = "learned"
    context_is_hard: bool = True


def read_shape(
    config: ConfigReader, *, vocab: int, hidden: int = 768, layers: int = 12, heads: int = 12, ffn: int = 3072
) -> EncoderShape:
    """The sizes under the names of BertConfig; the keyword arguments are the class defaults, transformers 5.23."""
    return EncoderShape(
        hidden_dim=config.core("hidden_size", class_default=hidden),
        layers=config.layers("num_hidden_layers", class_default=layers),
        heads=config.core("num_attention_heads", class_default=heads),
        ffn_dim=config.core("intermediate_size", class_default=ffn),
        vocab_size=config.core("vocab_size", class_default=vocab),
        position_rows=config.core("max_position_embeddings", class_default=512),
    )


def encoder_stack(config: ConfigReader, shape: EncoderShape, *, max_tokens: int | None, gated: bool = False) -> Stack:
    """The stack of a text encoder: attention in both directions, nothing cached."""
    dim = config.divide("hidden_size", shape.hidden_dim, "num_attention_heads", shape.heads)
    attention = EncoderAttention(query_heads=shape.heads, kv_heads=shape.heads, key_dim=dim, value_dim=dim)
    mlp = Mlp(ffn_dim=shape.ffn_dim, gated=gated)
    return stack_of("encoder", shape.hidden_dim, [(attention, mlp)] * shape.layers, max_tokens=max_tokens)


def bert_embeddings(
    model: Tensors, shape: EncoderShape, *, dim: int | None = None, types: int = 0, type_buffer: bool = False
) -> None:
    """Word, position and token-type embeddings with their norm; `dim` where it is not the hidden width (ELECTRA)."""
    width, embeddings = dim or shape.hidden_dim, model.at("embeddings")
    embeddings.embedding("word_embeddings", shape.vocab_size, width)
    embeddings.embedding("position_embeddings", shape.position_rows, width)
    if types:
        embeddings.embedding("token_type_embeddings", types, width)
    embeddings.norm("LayerNorm", width, bias=True)
    embeddings.buffer("position_ids", (1, shape.position_rows), dtype="int64")
    if type_buffer:
        embeddings.buffer("token_type_ids", (1, shape.position_rows), dtype="int64")


def bert_layers(
    model: Tensors, shape: EncoderShape, *, names: tuple[str, str, str] = ("query", "key", "value"), inner: str = "self"
) -> None:
    """BERT's layers: biased projections, norms after the residuals."""
    layer, hidden = model.at("encoder.layer.*", count=shape.layers), shape.hidden_dim
    for name in names:
        layer.linear(f"attention.{inner}.{name}", hidden, hidden, bias=True, part="attention")
    layer.linear("attention.output.dense", hidden, hidden, bias=True, part="attention")
    layer.norm("attention.output.LayerNorm", hidden, bias=True)
    bert_feed_forward(layer, hidden, shape.ffn_dim)


def bert_feed_forward(layer: Tensors, hidden: int, ffn_dim: int) -> None:
    """BERT's feed-forward with the norm after it."""
    layer.linear("intermediate.dense", ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("output.dense", hidden, ffn_dim, bias=True, part="mlp")
    layer.norm("output.LayerNorm", hidden, bias=True)


def prediction_head(tensors: Tensors, shape: EncoderShape, *, tied: bool) -> None:
    """BERT's masked-language head: a transform, a norm, a bias per token, and the decoder unless tied."""
    head = tensors.at("cls.predictions")
    head.linear("transform.dense", shape.hidden_dim, shape.hidden_dim, bias=True, part="projector")
    head.norm("transform.LayerNorm", shape.hidden_dim, bias=True)
    vocabulary_bias(head, "bias", "decoder", shape, tied=tied)


def lm_head(tensors: Tensors, shape: EncoderShape, *, tied: bool) -> None:
    """RoBERTa's masked-language head (also MPNet's)."""
    head = tensors.at("lm_head")
    head.linear("dense", shape.hidden_dim, shape.hidden_dim, bias=True, part="projector")
    head.norm("layer_norm", shape.hidden_dim, bias=True)
    vocabulary_bias(head, "bias", "decoder", shape, tied=tied)


def vocabulary_bias(head: Tensors, bias: str, decoder: str, shape: EncoderShape, *, tied: bool) -> None:
    """The bias of every token, and the decoder's own weight and bias where it is not tied to the embedding."""
    head.parameter(bias, (shape.vocab_size,), part="head")
    if not tied:
        head.linear(decoder, shape.vocab_size, shape.hidden_dim, bias=True, part="head")


def pooler(model: Tensors, width: int) -> None:
    """The dense layer over the first token."""
    model.linear("pooler.dense", width, width, bias=True, part="projector")


def dense_classifier(tensors: Tensors, width: int, labels: int) -> None:
    """RoBERTa's classification head: a dense layer and the outputs."""
    tensors.linear("classifier.dense", width, width, bias=True, part="projector")
    tensors.linear("classifier.out_proj", labels, width, bias=True, part="projector")


def simple_head(config: ConfigReader, tensors: Tensors, width: int, head: Head) -> None:
    """The heads that are one layer, the same in all these lineages: token classification and question answering."""
    if head == "token":
        tensors.linear("classifier", labels_of(config), width, bias=True, part="projector")
    elif head == "question":
        tensors.linear("qa_outputs", labels_of(config), width, bias=True, part="projector")


def encoder_spec(
    config: ConfigReader, build: Callable[[ConfigReader, Tensors, Head], EncoderModel], *, default_class: str
) -> ModelSpec:
    """An encoder in the class that `architectures` names: bare, or with one of the heads."""
    name = config.class_name or default_class
    head = next((head for suffix, head in _SUFFIXES.items() if name.endswith(suffix)), None)
    if head is None:
        raise unknown_class(config, ", ".join(f"...{suffix}" for suffix in _SUFFIXES))
    tensors = Tensors()
    model = build(config, tensors, head)
    dtype, notes = config_dtype(config)
    has_head = head in ("masked-lm", "pretraining") and any(group.part == "head" for group in tensors.groups())
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="encoder",
        stacks=(model.stack,),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=model.vocab_size,
        max_context_tokens=model.max_tokens,
        context_is_hard=model.context_is_hard,
        tied_head=has_head and model.tied,
        has_head=has_head,
        logits_to_keep=False,
        positions=model.positions,
        embedding_dim=model.stack.hidden_dim,
        notes=notes,
    )
