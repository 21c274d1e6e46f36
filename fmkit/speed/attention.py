"""Operations of attention: widths of all heads times the pairs of tokens that attend to each other, by kind of layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from fmkit.model.layers import (
    ChunkedAttention,
    CompressedAttention,
    CrossAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SimpleMixer,
    StateSpace,
    parts_of,
)
from fmkit.model.recurrent import DeltaAttention, LinearAttention, Mamba2, NoMixer, Rwkv, RwkvMatrix, ShortConvolution
from fmkit.model.spec import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


def attention_operations(stack: Stack, tokens: int, memory_tokens: int = 0) -> float:
    """Operations of attention scores and weighted sums over one sequence: O(tokens ** 2) unless a window bounds it.

    2 * heads * (key_dim + value_dim) per pair of tokens; cross-attention pairs them with the `memory_tokens` of another tower.

    >>> from fmkit.model.spec import Block
    >>> layer = FullAttention(query_heads=32, kv_heads=8, key_dim=128, value_dim=128)
    >>> attention_operations(Stack(role="decoder", hidden_dim=4096, blocks=(Block(count=32, mixer=layer),)), 4096) / 1e12
    4.398046511104
    """
    own = sum(
        2.0 * attention_width(mixer) * _pairs(mixer, tokens) * block.count
        for block in stack.blocks
        for mixer in parts_of(block.mixer)
    )
    return own + sum(2.0 * attention_width(cross) * tokens * memory_tokens * count for cross, count in crosses(stack))


def crosses(stack: Stack) -> Iterator[tuple[CrossAttention, int]]:
    """Cross-attention of a stack, beside a layer's own attention or in its place, and in how many layers."""
    for block in stack.blocks:
        if block.cross is not None:
            yield block.cross, block.count
        for part in parts_of(block.mixer):
            if isinstance(part, CrossAttention):
                yield part, block.count


def attention_width(mixer: SimpleMixer) -> int:
    """Widths of all query heads' keys and values together; 0 for a kind that attends to no token. Every kind is named.

    >>> attention_width(EncoderAttention(query_heads=12, kv_heads=12, key_dim=64, value_dim=64))  # BERT base
    1536
    """
    if isinstance(mixer, LatentAttention):
        return mixer.query_heads * (mixer.nope_dim + mixer.rope_dim + mixer.value_dim)
    if isinstance(mixer, CompressedAttention):
        return mixer.query_heads * 2 * mixer.head_dim
    if isinstance(mixer, FullAttention | CrossAttention | EncoderAttention):
        return mixer.query_heads * (mixer.key_dim + mixer.value_dim)
    if isinstance(
        mixer, StateSpace | Mamba2 | DeltaAttention | LinearAttention | Rwkv | RwkvMatrix | ShortConvolution | NoMixer
    ):
        return 0
    assert_never(mixer)


def _pairs(mixer: SimpleMixer, tokens: int) -> float:
    """Pairs of tokens that attend to each other: half a square where attention is causal, less beyond a window."""
    reach = mixer.attended_tokens(tokens)
    if isinstance(mixer, ChunkedAttention):
        return tokens * reach / 2
    causal = isinstance(mixer, FullAttention | LatentAttention | CompressedAttention)
    return tokens * reach - (reach * reach / 2 if causal else 0)
