"""Decoders that are a Llama but for a few points: norms of queries and keys, biases, experts, windows.

A lineage's file says which points those are, in a `Variant`; what is the same for all of them is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer

QkNorm = Literal["head", "width"]
"""Norms of queries and keys: one of a head's width for all heads, or one of all heads' width."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Class defaults of a config in transformers 5.23, which count where a nested config is silent."""

    hidden: int
    layers: int
    vocab: int
    ffn: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    context: int = 2048
    tied: bool = False
    rotated: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of a layer's modules."""

    attention: str = "self_attn"
    output: str = "o_proj"
    q_norm: str = "q_norm"
    k_norm: str = "k_norm"
    mlp: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    embedding: str = "embed_tokens"
    final_norm: str = "norm"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes that all tensors of a decoder are made of."""

    hidden: int
    layers: int
    vocab: int
    heads: Heads


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a lineage differs from Llama."""

    defaults: Defaults
    names: Names = Names()
    qk_norm: QkNorm | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    rotary: Literal["one", "by kind", "none"] = "one"
    norm_bias: bool = False


Experts = tuple[Mlp, "Callable[[Tensors], None]"]
"""A mixture, and what adds its tensors to a layer."""


def read_shape(config: ConfigReader, defaults: Defaults) -> Shape:
    """The sizes under the usual names."""
    hidden = config.core("hidden_size", class_default=defaults.hidden)
    return Shape(
        hidden=hidden,
        layers=config.layers("num_hidden_layers", class_default=defaults.layers),
        vocab=config.core("vocab_size", class_default=defaults.vocab),
        heads=read_heads(config, hidden, heads=defaults.heads, kv_heads=defaults.kv_heads, head_dim=defaults.head_dim),
    )


def variant_model(
    config: ConfigReader,
    tensors: Tensors,
    variant: Variant,
    *,
    windows: Sequence[int | None] | None = None,
    experts: Experts | None = None,
    sparse: Sequence[bool] | None = None,
    rotated_dims: int | None = None,
    notes: tuple[str, ...] = (),
) -> TextModel:
    """The decoder: `windows` of each layer (None for full attention), `experts` in the layers that are `sparse`, or in all."""
    shape, defaults = read_shape(config, variant.defaults), variant.defaults
    mixers = [causal(shape.heads, window) for window in windows or [None] * shape.layers]
    tensors.embedding(variant.names.embedding, shape.vocab, shape.hidden)
    layer = tensors.at("layers.*", count=shape.layers)
    variant_attention(layer, shape, variant)
    mlps = feed_forwards(config, tensors, shape, variant, experts=experts, sparse=sparse)
    for name in variant.names.norms:
        layer.norm(name, shape.hidden, bias=variant.norm_bias)
    if variant.names.final_norm:
        tensors.norm(variant.names.final_norm, shape.hidden, bias=variant.norm_bias)
    rotated = rotated_dims or rotary_dims(config, shape.heads.dim, default=defaults.rotated)
    if variant.rotary == "one":
        rotary_buffers(tensors, rotated)
    elif variant.rotary == "by kind":
        rotary_by_kind(tensors, mixers, rotated)
    return TextModel(
        stack=stack_of("decoder", shape.hidden, zip(mixers, mlps, strict=True)),
        vocab_size=shape.vocab,
        max_context_tokens=rope_limit(config, class_default=defaults.context),
        tied=config.flag("tie_word_embeddings", default=defaults.tied),
        notes=(*notes, *prediction_notes(config)),
    )


def variant_attention(layer: Tensors, shape: Shape, variant: Variant) -> None:
    """Projections and norms of one kind of attention."""
    names, heads, hidden = variant.names, shape.heads, shape.hidden
    attention = layer.at(names.attention)
    query, key = heads.query * heads.dim, heads.kv * heads.dim
    attention.linear("q_proj", query, hidden, bias=variant.qkv_bias, part="attention")
    attention.linear("k_proj", key, hidden, bias=variant.qkv_bias, part="attention")
    attention.linear("v_proj", key, hidden, bias=variant.qkv_bias, part="attention")
    attention.linear(names.output, hidden, query, bias=variant.output_bias, part="attention")
    if variant.qk_norm is not None:
        by_head = variant.qk_norm == "head"
        attention.norm(names.q_norm, heads.dim if by_head else query)
        attention.norm(names.k_norm, heads.dim if by_head else key)


def feed_forwards(
    config: ConfigReader,
    tensors: Tensors,
    shape: Shape,
    variant: Variant,
    *,
    experts: Experts | None = None,
    sparse: Sequence[bool] | None = None,
) -> list[Mlp]:
    """The feed-forward of each layer, its tensors added: dense, or a mixture in the layers that are `sparse`."""
    flags = list(sparse) if sparse is not None else [experts is not None] * shape.layers
    dense = None
    if not all(flags):
        ffn = config.core("intermediate_size", class_default=variant.defaults.ffn)
        dense = Mlp(ffn_dim=ffn, gated=True)
        names = variant.names
        mlp = tensors.at("layers.*", count=flags.count(False)).at(names.mlp)
        mlp.linear(names.gate, ffn, shape.hidden, bias=variant.mlp_bias, part="mlp")
        mlp.linear(names.up, ffn, shape.hidden, bias=variant.mlp_bias, part="mlp")
        mlp.linear(names.down, shape.hidden, ffn, bias=variant.mlp_bias, part="mlp")
    if experts is not None:
        experts[1](tensors.at("layers.*", count=flags.count(True)))
    mixture = experts[0] if experts is not None else dense
    chosen = [mixture if flag else dense for flag in flags]
    return [mlp for mlp in chosen if mlp is not None]


def rotary_by_kind(tensors: Tensors, mixers: Sequence[Mixer], dims: int) -> None:
    """Frequency tables of their own for full and for sliding layers."""
    windowed = [getattr(mixer, "window_tokens", None) is not None for mixer in mixers]
    if not all(windowed):
        rotary_buffers(tensors, dims, prefix="full_attention_")
    if any(windowed):
        rotary_buffers(tensors, dims, prefix="sliding_attention_")


def leading_dense(config: ConfigReader, layers: int, *, default: int) -> list[bool]:
    """Which layers have experts where the first `first_k_dense_replace` have none."""
    dense = min(layers, config.size("first_k_dense_replace", default=default, minimum=0))
    return [False] * dense + [True] * (layers - dense)


def prediction_notes(config: ConfigReader) -> tuple[str, ...]:
    """That the multi-token-prediction layers of a repository are not counted, where it has them."""
    count = config.size("num_nextn_predict_layers", "mtp_num_hidden_layers", default=0, null=0, minimum=0)
    if not count:
        return ()
    return (f"{count} multi-token-prediction layer(s) are stored but not loaded: not counted",)
