"""T5, Flan-T5, UL2 (v1.0: tied head, ReLU; v1.1: gated), MADLAD, mT5: relative positions, one table in the first layer.

transformers 5.23 ties the head in all of them, whatever `tie_word_embeddings` says: repositories of v1.1 store one
matrix more. `wo` is in `_keep_in_fp32_modules`: never quantised, and float32 beside float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import Heads, causal, config_dtype, float32_in_half, stack_of, unknown_class
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("t5", "mt5")
TIED_NOTE = (
    "the repository stores an output head of its own, which transformers 5.23 ties to the embedding: counted once"
)
UNLIMITED_NOTE = "relative positions: the config names no longest input"


@dataclass(frozen=True, kw_only=True)
class T5Shape:
    """The sizes of a T5."""

    hidden_dim: int
    vocab_size: int
    encoder_layers: int
    decoder_layers: int
    heads: Heads
    mlp: Mlp
    buckets: int


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a T5 or mT5 config."""
    name = config.class_name or ("MT5" if config.model_type == "mt5" else "T5") + "ForConditionalGeneration"
    encoder_only = name.endswith("EncoderModel")
    if not encoder_only and not name.endswith("ForConditionalGeneration"):
        raise unknown_class(config, "...ForConditionalGeneration, ...EncoderModel")
    shape = read_shape(config)
    tensors = Tensors()
    build(tensors, shape, decoder=not encoder_only, wo_dtype=float32_in_half(config))
    limit = config.optional_size("n_positions")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="encoder" if encoder_only else "encoder-decoder",
        stacks=(encoder_stack(shape),) if encoder_only else (decoder_stack(shape), encoder_stack(shape)),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=shape.vocab_size,
        max_context_tokens=limit,
        context_is_hard=False,
        tied_head=not encoder_only,
        has_head=not encoder_only,
        logits_to_keep=False,
        positions="relative",
        embedding_dim=shape.hidden_dim if encoder_only else None,
        notes=(*notes, *_notes(config, limit)),
    )


def read_shape(config: ConfigReader) -> T5Shape:
    """The sizes. Class defaults: T5Config and MT5Config, transformers 5.23."""
    multilingual = config.model_type == "mt5"
    layers = config.layers("num_layers", "num_hidden_layers", class_default=8 if multilingual else 6)
    decoder_layers = config.size("num_decoder_layers", default=layers, null=layers)
    if decoder_layers > 4 * layers + 64:
        raise config.wrong("num_decoder_layers", f"a number like num_layers ({layers})", decoder_layers)
    heads = config.core("num_heads", "num_attention_heads", class_default=6 if multilingual else 8)
    activation = config.optional_text("feed_forward_proj") or ("gated-gelu" if multilingual else "relu")
    ffn = config.core("d_ff", class_default=1024 if multilingual else 2048)
    return T5Shape(
        hidden_dim=config.core("d_model", "hidden_size", class_default=512),
        vocab_size=config.core("vocab_size", class_default=250112 if multilingual else 32128),
        encoder_layers=layers,
        decoder_layers=decoder_layers,
        heads=Heads(query=heads, kv=heads, dim=config.core("d_kv", class_default=64)),
        mlp=Mlp(ffn_dim=ffn, gated=activation.startswith("gated")),
        buckets=config.size("relative_attention_num_buckets", default=32),
    )


def build(tensors: Tensors, shape: T5Shape, *, decoder: bool, wo_dtype: str | None) -> None:
    """The tensors of both halves, or of the encoder alone."""
    tensors.embedding("shared", shape.vocab_size, shape.hidden_dim)
    _half(tensors.at("encoder"), shape, shape.encoder_layers, wo_dtype, crosses=False)
    if decoder:
        _half(tensors.at("decoder"), shape, shape.decoder_layers, wo_dtype, crosses=True)


def _half(half: Tensors, shape: T5Shape, layers: int, wo_dtype: str | None, *, crosses: bool) -> None:
    hidden, inner, ffn = shape.hidden_dim, shape.heads.query * shape.heads.dim, shape.mlp.ffn_dim
    layer = half.at("block.*.layer.*", count=layers)
    for attention in ("SelfAttention", "EncDecAttention") if crosses else ("SelfAttention",):
        for name in ("q", "k", "v"):
            layer.linear(f"{attention}.{name}", inner, hidden, part="attention")
        layer.linear(f"{attention}.o", hidden, inner, part="attention")
    first = half.at("block.*.layer.*")
    first.embedding("SelfAttention.relative_attention_bias", shape.buckets, shape.heads.query)
    for name in ("wi_0", "wi_1") if shape.mlp.gated else ("wi",):
        layer.linear(f"DenseReluDense.{name}", ffn, hidden, part="mlp")
    kept = half.at("block.*.layer.*", count=layers, keeps_float32=True, dtype=wo_dtype)
    kept.linear("DenseReluDense.wo", hidden, ffn, part="mlp")
    layer.norm("layer_norm", hidden, count=3 if crosses else 2)
    half.norm("final_layer_norm", hidden)


def decoder_stack(shape: T5Shape) -> Stack:
    """The decoder: causal attention, and cross-attention to the encoder in every layer."""
    heads = shape.heads
    cross = CrossAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    layers = [(causal(heads, None), shape.mlp)] * shape.decoder_layers
    return stack_of("decoder", shape.hidden_dim, layers, cross=cross)


def encoder_stack(shape: T5Shape) -> Stack:
    """The encoder."""
    heads = shape.heads
    attention = EncoderAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    return stack_of("encoder", shape.hidden_dim, [(attention, shape.mlp)] * shape.encoder_layers)


def _notes(config: ConfigReader, limit: int | None) -> tuple[str, ...]:
    untied = not config.flag("tie_word_embeddings", default=True)
    trained = f"relative positions: pre-trained on {limit} tokens (n_positions), longer inputs are possible"
    return (*((TIED_NOTE,) if untied else ()), UNLIMITED_NOTE if limit is None else trained)
