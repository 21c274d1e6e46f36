"""What the tensors of one moment take: the multiples of an implementation times the widths of a block.

The multiples are in `fmkit.sizing.implementations`, with their source. What depends on the block and the kind of pass is
worked out once (`BlockTensors`); tokens and sequences are put in as often as is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.model.attention import (
    CompressedAttention,
    EncoderAttention,
    FullAttention,
    LatentAttention,
    SlidingAttention,
)
from fmkit.model.layers import parts_of
from fmkit.sizing.implementations import ASSUMED, Held, Implementation, implementation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, Stack
    from fmkit.sizing.estimate import Attention
    from fmkit.sizing.forward import Pass, PassKind


def is_chunked(stack: Stack, tokens: int, run: Pass) -> bool:
    """Whether a decoder reads its prompt in pieces of `tokens` tokens."""
    return stack.role == "decoder" and run.chunk_tokens is not None and tokens < run.workload.context_tokens


def is_fused(implementation: Implementation, attention: Attention) -> bool:
    """Whether attention is computed without score matrices in memory."""
    return implementation.fused and attention != "eager"


def keys_of(mixer: FullAttention, tokens: int, run: Pass) -> int:
    """Keys that a chunk of `tokens` tokens attends to: all before it and its own, or a window's."""
    context = run.workload.context_tokens
    return min(context, mixer.window_tokens - 1 + tokens) if isinstance(mixer, SlidingAttention) else context


def running_as(spec: ModelSpec, stack: Stack, block: Block, attention: Attention) -> tuple[Implementation, bool]:
    """The row of the block's implementation, and whether it was traced; with flash attention instead of an eager one it was not."""
    found, known = _row(spec, stack, block)
    if attention != "flash" or found.fused or not found.flash:
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


class HeldBytes(NamedTuple):
    """Bytes of the tensors of one moment: `row` per token of each sequence, `once` per token whatever the sequences.

    `pair` is what score matrices hold per head and pair of query and key.
    """

    held: Held
    row: float
    once: float
    pair: float

    def bytes(self, rows: int, tokens: int) -> int:
        """Bytes for `rows` tokens of all sequences, `tokens` of one; scores are not among them."""
        return int(rows * self.row + tokens * self.once)


class BlockTensors:
    """The tensors that a block holds at the moments of a pass, in bytes per token."""

    def __init__(self, stack: Stack, block: Block, implementation: Implementation, kind: PassKind) -> None:
        self.stack = stack
        self.block = block
        self.kind = kind
        self.implementation = implementation
        self.query_width, self.key_width = widths(block)
        self.heads: int = getattr(block.mixer, "query_heads", 0)
        self.mlp = self.of(implementation.mlp)
        mlp = block.mlp
        self._experts = mlp if mlp is not None and mlp.experts else None
        if self._experts is not None:
            self._copies = self._experts.experts if implementation.every_expert else self._experts.experts_per_token
            self._moments = [self.of(held) for held in implementation.experts]
            self._shared = 3 * self._experts.shared_ffn_dim * kind.element_bytes
            self._beside = int(implementation.experts_beside * stack.hidden_dim) * kind.element_bytes

    def of(self, held: Held) -> HeldBytes:
        """One moment's tensors in bytes."""
        hidden, element_bytes = self.stack.hidden_dim, self.kind.element_bytes
        narrow = element_bytes < 4
        inner = self.block.mlp.ffn_dim if self.block.mlp is not None else 0
        query, key = self.query_width, self.key_width
        elements = held.h * hidden + held.i * inner + held.q * query + held.kv * key
        wide = held.h32 * hidden + held.q32 * query + held.kv32 * key
        if narrow:
            wide += held.h_cast * hidden + held.q_cast * query + held.kv_cast * key
        wide_scores = held.scores32 + (held.scores_cast if narrow else 0)
        scores = held.scores + (held.scores_back if narrow else 0)
        return HeldBytes(
            held=held,
            row=elements * element_bytes + wide * 4,
            once=held.positions * hidden * element_bytes + held.rope32 * _head_dim(self.block) * 4,
            pair=scores * element_bytes + wide_scores * 4,
        )

    def mlp_bytes(self, rows: int, tokens: int) -> int:
        """The feed-forward moment; with experts, each row is repeated once per expert it is routed to.

        Experts: some hidden tensors + the largest moment of the routed rows (inside the experts, or weighting their
        outputs). Source: traces of Mixtral, Qwen3-MoE and DeepSeek-V2 in transformers 5.23 (grouped matrix product).
        """
        if self._experts is None:
            return self.mlp.bytes(rows, tokens)
        copies = self._copies
        routed = max([moment.bytes(rows * copies, tokens * copies) for moment in self._moments])
        return self._beside * rows + max(routed, rows * self._shared)

    def square_bytes(self, held: HeldBytes, tokens: int, run: Pass) -> int:
        """Score matrices: query heads x tokens x keys for each sequence, as many as the moment holds."""
        if not held.pair or not self.heads:
            return 0
        mixer = self.block.mixer
        keys = tokens + (tokens // mixer.ratio if isinstance(mixer, CompressedAttention) else 0)
        if run.chunk_tokens is not None and isinstance(mixer, FullAttention):
            keys = keys_of(mixer, tokens, run)
        return int(run.sequences * self.heads * tokens * keys * held.pair)

    def terms(self, held: Held) -> Iterator[str]:
        """The products of multiples and widths, for a formula."""
        mlp = self.block.mlp
        hidden = self.stack.hidden_dim
        inner = mlp.ffn_dim if mlp is not None else 0
        routed = f" x {mlp.experts_per_token} experts" if mlp is not None and mlp.experts else ""
        for multiple, width, suffix in (
            (held.h, hidden, ""),
            (held.i, inner, routed),
            (held.q, self.query_width, ""),
            (held.kv, self.key_width, ""),
            (held.h32, hidden, " in float32"),
            (held.q32, self.query_width, " in float32"),
        ):
            if multiple and width:
                yield f"{multiple:.3g} x {width:,}{suffix}"


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
