"""What the tensors of one moment take: the multiples of an implementation times the widths of a block.

The multiples are in `fmkit.sizing.implementations`, with their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.layers import (
    CompressedAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SlidingAttention,
    parts_of,
)
from fmkit.sizing.forward import Pass
from fmkit.sizing.implementations import ASSUMED, Held, Implementation, implementation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack


def is_chunked(stack: Stack, tokens: int, run: Pass) -> bool:
    """Whether a decoder reads its prompt in pieces of `tokens` tokens."""
    return stack.role == "decoder" and run.chunk_tokens is not None and tokens < run.workload.context_tokens


def is_fused(implementation: Implementation, run: Pass) -> bool:
    """Whether attention is computed without score matrices in memory."""
    return implementation.fused and run.workload.attention != "eager"


def keys_of(mixer: FullAttention, tokens: int, run: Pass) -> int:
    """Keys that a chunk of `tokens` tokens attends to: all before it and its own, or a window's."""
    context = run.workload.context_tokens
    return min(context, mixer.window_tokens - 1 + tokens) if isinstance(mixer, SlidingAttention) else context


def running_as(spec: ModelSpec, stack: Stack, block: Block, run: Pass) -> tuple[Implementation, bool]:
    """The row of the block's implementation, and whether it was traced; with flash attention instead of an eager one it was not."""
    found, known = _row(spec, stack, block)
    if run.workload.attention != "flash" or found.fused or not found.flash:
        return found, known
    mlp = msgspec.structs.replace(found.mlp, scores=0)
    return msgspec.structs.replace(found, fused=True, mlp=mlp, attention=ASSUMED.attention), False


def _row(spec: ModelSpec, stack: Stack, block: Block) -> tuple[Implementation, bool]:
    gated = block.mlp is not None and block.mlp.gated
    return implementation_of(stack.implementation or spec.model_type, gated=gated)


def without_fused_kernel(spec: ModelSpec) -> Implementation | None:
    """The implementation of the first block that PyTorch's fused attention is not called for; None where it always is."""
    rows = (_row(spec, stack, block)[0] for stack in spec.stacks for block in stack.blocks)
    return next((row for row in rows if not row.fused), None)


def held_bytes(stack: Stack, block: Block, held: Held, rows: int, run: Pass) -> int:
    """Bytes of the tensors of one moment for `rows` tokens."""
    query, key = widths(block)
    inner = block.mlp.ffn_dim if block.mlp is not None else 0
    elements = held.h * stack.hidden_dim + held.i * inner + held.q * query + held.kv * key
    wide = held.h32 * stack.hidden_dim + held.q32 * query + held.kv32 * key
    if run.element_bytes < 4:
        wide += held.h_cast * stack.hidden_dim + held.q_cast * query + held.kv_cast * key
    once = held.positions * stack.hidden_dim * run.element_bytes + held.rope32 * _head_dim(block) * 4
    return int(rows * (elements * run.element_bytes + wide * 4) + rows // run.sequences * once)


def mlp_bytes(stack: Stack, block: Block, implementation: Implementation, rows: int, run: Pass) -> int:
    """The feed-forward moment; with experts, each row is repeated once per expert it is routed to.

    Experts: some hidden tensors + the largest moment of the routed rows (inside the experts, or weighting their
    outputs). Source: traces of Mixtral, Qwen3-MoE and DeepSeek-V2 in transformers 5.23 (grouped matrix product).
    """
    mlp = block.mlp
    if mlp is None or not mlp.experts:
        return held_bytes(stack, block, implementation.mlp, rows, run)
    copies = mlp.experts if implementation.every_expert else mlp.experts_per_token
    routed = max(held_bytes(stack, block, held, rows * copies, run) for held in implementation.experts)
    shared = rows * 3 * mlp.shared_ffn_dim * run.element_bytes
    beside = int(implementation.experts_beside * stack.hidden_dim) * run.element_bytes
    return beside * rows + max(routed, shared)


def square_bytes(block: Block, held: Held, tokens: int, run: Pass) -> int:
    """Score matrices: query heads x tokens x keys for each sequence, as many as `held` says."""
    mixer = block.mixer
    heads = getattr(mixer, "query_heads", 0)
    keys = tokens + (tokens // mixer.ratio if isinstance(mixer, CompressedAttention) else 0)
    if run.chunk_tokens is not None and isinstance(mixer, FullAttention):
        keys = keys_of(mixer, tokens, run)
    narrow = run.element_bytes < 4
    wide = held.scores32 + (held.scores_cast if narrow else 0)
    same = held.scores + (held.scores_back if narrow else 0)
    return int(run.sequences * heads * tokens * keys * (same * run.element_bytes + wide * 4))


def _head_dim(block: Block) -> int:
    """Width of one key head; 0 for a layer without."""
    return max((getattr(part, "key_dim", 0) for part in parts_of(block.mixer)), default=0)


def widths(block: Block) -> tuple[int, int]:
    """Widths of all query heads, and of all key heads (latent attention: of all heads' expanded keys and values)."""
    mixer = parts_of(block.mixer)[0]
    if isinstance(mixer, FullAttention | EncoderAttention):
        return mixer.query_heads * mixer.key_dim, mixer.kv_heads * mixer.key_dim
    if isinstance(mixer, CompressedAttention):
        return mixer.query_heads * mixer.head_dim, mixer.head_dim
    if isinstance(mixer, LatentAttention):
        heads = mixer.query_heads
        return heads * (mixer.nope_dim + mixer.rope_dim), heads * (mixer.nope_dim + mixer.value_dim)
    return 0, 0


def terms(stack: Stack, block: Block, held: Held) -> Iterator[str]:
    """The products of multiples and widths, for a formula."""
    query, key = widths(block)
    mlp = block.mlp
    inner = mlp.ffn_dim if mlp is not None else 0
    routed = f" x {mlp.experts_per_token} experts" if mlp is not None and mlp.experts else ""
    for multiple, width, suffix in (
        (held.h, stack.hidden_dim, ""),
        (held.i, inner, routed),
        (held.q, query, ""),
        (held.kv, key, ""),
        (held.h32, stack.hidden_dim, " in float32"),
        (held.q32, query, " in float32"),
    ):
        if multiple and width:
            yield f"{multiple:.3g} x {width:,}{suffix}"
