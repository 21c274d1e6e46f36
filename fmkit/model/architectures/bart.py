"""BART, mBART, Pegasus, Marian, M2M100 and NLLB: one design, told apart by positions, norms and buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import Heads, causal, config_dtype, labels_of, stack_of, unknown_class
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec, Stack

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader

MODEL_TYPES = ("bart", "m2m_100", "marian", "mbart", "pegasus")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells the lineages apart, as read from their classes in transformers 5.23.

    `extra_rows` are position rows beyond `max_position_embeddings`; `position_buffer` says that positions are a
    computed buffer, which grows with the input, instead of a table.
    """

    default_class: str
    vocab_size: int
    extra_rows: int = 0
    position_buffer: bool = False
    sinusoidal: bool = False
    embedding_norm: bool = False
    final_norm: bool = False
    logits_bias: bool = True


_VARIANTS = {
    "bart": Variant(default_class="BartForConditionalGeneration", vocab_size=50265, extra_rows=2, embedding_norm=True),
    "mbart": Variant(
        default_class="MBartForConditionalGeneration",
        vocab_size=50265,
        extra_rows=2,
        embedding_norm=True,
        final_norm=True,
    ),
    "pegasus": Variant(
        default_class="PegasusForConditionalGeneration", vocab_size=50265, sinusoidal=True, final_norm=True
    ),
    "marian": Variant(default_class="MarianMTModel", vocab_size=58101, sinusoidal=True),
    "m2m_100": Variant(
        default_class="M2M100ForConditionalGeneration",
        vocab_size=128112,
        extra_rows=2,
        position_buffer=True,
        sinusoidal=True,
        final_norm=True,
        logits_bias=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Half:
    """The encoder or the decoder."""

    layers: int
    heads: Heads
    mlp: Mlp


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a BART-like config."""
    variant = _VARIANTS[str(config.model_type)]
    name = config.class_name or variant.default_class
    classifier = name.endswith("ForSequenceClassification")
    if not classifier and not name.endswith(("ForConditionalGeneration", "MTModel")):
        raise unknown_class(config, "...ForConditionalGeneration, ...MTModel, ...ForSequenceClassification")
    hidden = config.core("d_model", "hidden_size", class_default=1024)
    vocab = config.core("vocab_size", class_default=variant.vocab_size)
    positions = config.core("max_position_embeddings", class_default=1024)
    halves = {side: _half(config, side, hidden) for side in ("encoder", "decoder")}
    tensors = Tensors()
    _build(config, tensors, variant, halves, hidden, vocab, positions, classifier=classifier)
    dtype, notes = config_dtype(config)
    hard = not variant.position_buffer
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="encoder-decoder",
        stacks=(
            _decoder_stack(halves["decoder"], hidden, positions),
            _encoder_stack(halves["encoder"], hidden, positions),
        ),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=vocab,
        max_context_tokens=positions,
        context_is_hard=hard,
        encoder_max_tokens=positions if hard else None,
        tied_head=_is_tied(config) and not classifier,
        has_head=not classifier,
        logits_to_keep=False,
        positions="sinusoidal" if variant.sinusoidal else "learned",
        notes=notes,
    )


def _half(config: ConfigReader, side: str, hidden: int) -> Half:
    """One half. Class defaults: BartConfig and its copies, transformers 5.23."""
    heads = config.core(f"{side}_attention_heads", class_default=16)
    dim = config.divide("d_model", hidden, f"{side}_attention_heads", heads)
    return Half(
        layers=config.layers(f"{side}_layers", class_default=12),
        heads=Heads(query=heads, kv=heads, dim=dim),
        mlp=Mlp(ffn_dim=config.core(f"{side}_ffn_dim", class_default=4096), gated=False),
    )


def _is_tied(config: ConfigReader) -> bool:
    return config.flag("tie_word_embeddings", default=True)


def _build(
    config: ConfigReader,
    tensors: Tensors,
    variant: Variant,
    halves: dict[str, Half],
    hidden: int,
    vocab: int,
    positions: int,
    *,
    classifier: bool,
) -> None:
    if not config.flag("share_encoder_decoder_embeddings", default=True):
        raise config.unknown("separate embeddings of encoder and decoder are not understood")
    model = tensors.at("model")
    model.embedding("shared", vocab, hidden)
    for side, half in halves.items():
        tower = model.at(side)
        rows = positions + variant.extra_rows
        if variant.position_buffer:
            tower.buffer("embed_positions.weights", (rows, hidden), dtype=None)
        else:
            tower.embedding("embed_positions", rows, hidden)
        _layers(tower, half, hidden, crosses=side == "decoder")
        if variant.embedding_norm:
            tower.norm("layernorm_embedding", hidden, bias=True)
        if variant.final_norm:
            tower.norm("layer_norm", hidden, bias=True)
    if classifier:
        tensors.linear("classification_head.dense", hidden, hidden, bias=True, part="projector")
        tensors.linear("classification_head.out_proj", _labels(config), hidden, bias=True, part="projector")
        return
    if variant.logits_bias:
        tensors.buffer("final_logits_bias", (1, vocab), dtype=None)
    if not _is_tied(config):
        tensors.linear("lm_head", vocab, hidden, part="head")


def _labels(config: ConfigReader) -> int:
    """Three where the config names none: default of BartConfig, transformers 5.23."""
    return labels_of(config) if config.has("num_labels") or config.has("id2label") else 3


def _layers(tower: Tensors, half: Half, hidden: int, *, crosses: bool) -> None:
    layer = tower.at("layers.*", count=half.layers)
    for attention in ("self_attn", "encoder_attn") if crosses else ("self_attn",):
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            layer.linear(f"{attention}.{name}", hidden, hidden, bias=True, part="attention")
        layer.norm(f"{attention}_layer_norm", hidden, bias=True)
    layer.linear("fc1", half.mlp.ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("fc2", hidden, half.mlp.ffn_dim, bias=True, part="mlp")
    layer.norm("final_layer_norm", hidden, bias=True)


def _decoder_stack(half: Half, hidden: int, max_tokens: int) -> Stack:
    heads = half.heads
    cross = CrossAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    layers = [(causal(heads, None), half.mlp)] * half.layers
    return stack_of("decoder", hidden, layers, cross=cross, max_tokens=max_tokens)


def _encoder_stack(half: Half, hidden: int, max_tokens: int) -> Stack:
    heads = half.heads
    attention = EncoderAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    return stack_of("encoder", hidden, [(attention, half.mlp)] * half.layers, max_tokens=max_tokens)
