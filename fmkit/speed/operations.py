"""Operations and bytes of one step, from the model's tensors and layer kinds.

Decode reads every weight once per step (of the experts, those the batch is routed to) and each sequence's cache; prefill
computes 2 operations per active weight and token, and attention over the tokens before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.layers import (
    CompressedAttention,
    CrossAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SimpleMixer,
    parts_of,
)
from fmkit.model.spec import Stack

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec


def decode_weight_bytes(spec: ModelSpec, layout: Layout, sequences: int) -> int:
    """Bytes of weights read in one decode step of `sequences` sequences.

    All but the input embedding (one row is looked up) and the encoders, which ran before; experts count by how many distinct
    ones the batch is expected to touch: E * (1 - (1 - k/E) ** sequences).
    """
    total = 0.0
    for group in spec.tensors:
        if group.part in ("vision", "audio", "qformer", "projector", "buffer") or ".encoder." in f".{group.name}":
            continue
        if group.part == "embedding" and not (spec.tied_head and group is _largest_embedding(spec)):
            continue
        size = layout.tensor_group_bytes(group, spec.config_dtype)
        if group.active is not None:
            experts = group.shape[0]
            size = int(size * (1 - (1 - group.active / experts) ** sequences))
        total += size
    return int(total)


def prefill_operations(spec: ModelSpec, tokens: int) -> float:
    """Floating-point operations to process `tokens` tokens of one sequence.

    2 per active weight and token (embedding lookups are free, the head runs for the last token only), plus attention:
    4 * heads * head_dim * tokens ** 2 per layer, halved where it is causal.
    """
    projections = sum(
        group.active_elements
        for group in spec.tensors
        if group.part not in ("embedding", "head", "buffer", "vision", "audio", "qformer")
    )
    return 2.0 * projections * tokens + sum(attention_operations(stack, tokens) for stack in text_stacks(spec))


def attention_operations(stack: Stack, tokens: int) -> float:
    """Operations of attention scores and weighted sums over one sequence: O(tokens ** 2) unless a window bounds it.

    >>> from fmkit.model.spec import Block
    >>> layer = FullAttention(query_heads=32, kv_heads=8, key_dim=128, value_dim=128)
    >>> attention_operations(Stack(role="decoder", hidden_dim=4096, blocks=(Block(count=32, mixer=layer),)), 4096) / 1e12
    4.398046511104
    """
    return sum(
        2.0 * _width(mixer) * _pairs(mixer, tokens) * block.count
        for block in stack.blocks
        for mixer in parts_of(block.mixer)
    )


def _width(mixer: SimpleMixer) -> int:
    """Widths of all heads' keys and values together; 0 for a layer without attention."""
    if isinstance(mixer, LatentAttention):
        return mixer.query_heads * (mixer.nope_dim + mixer.rope_dim + mixer.value_dim)
    if isinstance(mixer, CompressedAttention):
        return mixer.query_heads * 2 * mixer.head_dim
    if isinstance(mixer, FullAttention | CrossAttention | EncoderAttention):
        return mixer.query_heads * (mixer.key_dim + mixer.value_dim)
    return 0


def _pairs(mixer: SimpleMixer, tokens: int) -> float:
    """Pairs of tokens that attend to each other: half a square where attention is causal, less beyond a window."""
    reach = mixer.attended_tokens(tokens)
    causal = isinstance(mixer, FullAttention | LatentAttention | CompressedAttention)
    return tokens * reach - (reach * reach / 2 if causal else 0)


def text_stacks(spec: ModelSpec) -> tuple[Stack, ...]:
    """The stacks that process the text of a request."""
    return tuple(stack for stack in spec.stacks if stack.role in ("decoder", "encoder"))


def _largest_embedding(spec: ModelSpec) -> object:
    embeddings = [group for group in spec.tensors if group.part == "embedding"]
    return max(embeddings, key=lambda group: group.elements, default=None)
