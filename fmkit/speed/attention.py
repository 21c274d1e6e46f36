"""Operations of attention: widths of all heads times the pairs of tokens that attend to each other, by kind of layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from fmkit.model.attention import (
    ChunkedAttention,
    CompressedAttention,
    CrossAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
)
from fmkit.model.layers import SimpleMixer, parts_of
from fmkit.model.recurrent import (
    DeltaAttention,
    LinearAttention,
    Mamba2,
    NoMixer,
    Rwkv,
    RwkvMatrix,
    ShortConvolution,
    StateSpace,
)
from fmkit.model.spec import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPANDS_LATENTS = frozenset(("transformers",))
"""Engines that make every head's keys and values anew from the latents of all tokens held, in each step (`expand_kv` of transformers'
models/deepseek_v3). Others take the expanding matrices into queries and outputs: all heads then attend to the latent itself
(DeepSeek-V2, arXiv:2405.04434, section 2.1.2; in FlashMLA at up to 3,000 GB/s or 660 TFLOPS on an H800)."""


class StepAttention(NamedTuple):
    """Operations of one new token of one sequence: of attention, and of expanding latents before it.

    `shared` of attention's are with one key and value for all heads, read once: a product of matrices.
    """

    attention: float
    shared: float = 0.0
    expanding: float = 0.0


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


def step_attention(stack: Stack, context_tokens: int, engine: str) -> StepAttention:
    """Operations of attention of one new token that attends to `context_tokens`, itself included.

    >>> from fmkit.model.spec import Block
    >>> v3 = LatentAttention(query_heads=128, latent_dim=512, rope_dim=64, nope_dim=128, value_dim=128)
    >>> layer = Stack(role="decoder", hidden_dim=7168, blocks=(Block(count=1, mixer=v3),))
    >>> step_attention(layer, 1, "vllm")  # 128 heads x 2 x (576 + 512)
    StepAttention(attention=278528.0, shared=278528.0, expanding=0.0)
    >>> step_attention(layer, 1, "transformers")  # 2 x 512 x 128 heads x (128 + 128)
    StepAttention(attention=81920.0, shared=0.0, expanding=33554432.0)
    """
    expands = engine in EXPANDS_LATENTS
    attention = shared = expanding = 0.0
    for block in stack.blocks:
        for mixer in parts_of(block.mixer):
            pairs = 2.0 * mixer.attended_tokens(context_tokens) * block.count
            if isinstance(mixer, LatentAttention | CompressedAttention) and not expands:
                attention += pairs * _shared_width(mixer)
                shared += pairs * _shared_width(mixer)
                continue
            attention += pairs * attention_width(mixer)
            if isinstance(mixer, LatentAttention):
                expanding += pairs * mixer.latent_dim * mixer.query_heads * (mixer.nope_dim + mixer.value_dim)
    return StepAttention(attention, shared, expanding)


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


def _shared_width(mixer: LatentAttention | CompressedAttention) -> int:
    """The same where all heads attend to the one key and value that is kept of a token."""
    if isinstance(mixer, LatentAttention):
        return mixer.query_heads * (2 * mixer.latent_dim + mixer.rope_dim)
    return attention_width(mixer)


def _pairs(mixer: SimpleMixer, tokens: int) -> float:
    """Pairs of tokens that attend to each other: half a square where attention is causal, less beyond a window."""
    reach = mixer.attended_tokens(tokens)
    if isinstance(mixer, ChunkedAttention):
        return tokens * reach / 2
    causal = isinstance(mixer, FullAttention | LatentAttention | CompressedAttention)
    return tokens * reach - (reach * reach / 2 if causal else 0)
