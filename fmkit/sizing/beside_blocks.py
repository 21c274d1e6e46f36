"""What stays alive beside the blocks of a stack: masks, positions, image features, per-layer inputs, an encoder's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.attention import CompressedAttention, EncoderAttention, FullAttention, SlidingAttention
from fmkit.model.layers import parts_of
from fmkit.sizing.forward import encoder_of, images_per_sequence
from fmkit.sizing.held import is_chunked, is_fused, keys_of

if TYPE_CHECKING:
    from fmkit.model.spec import Block, ModelSpec, Stack
    from fmkit.sizing.forward import Pass, PassKind
    from fmkit.sizing.implementations import Implementation


class Masks:
    """Explicit masks, held through the pass, one for each kind of attention in the stack.

    A fused call needs none but a sliding window's, one byte per pair of tokens, once the prompt reaches the window
    (some models make a causal one, per sequence). Eager attention adds numbers: element_bytes per pair and sequence.
    """

    def __init__(self, stack: Stack, implementation: Implementation, kind: PassKind) -> None:
        parts = [part for block in stack.blocks for part in parts_of(block.mixer)]
        self._stack = stack
        self._mixers = [part for part in parts if isinstance(part, FullAttention)]
        self._windows = {mixer.window_tokens for mixer in self._mixers if isinstance(mixer, SlidingAttention)}
        self._fused = is_fused(implementation, kind.attention)
        self._causal = implementation.bool_mask
        kinds = len(self._windows) + any(not isinstance(mixer, SlidingAttention) for mixer in self._mixers)
        kinds += any(isinstance(part, CompressedAttention) for part in parts)
        self._eager_bytes = kinds * kind.element_bytes

    def bytes(self, tokens: int, run: Pass) -> int:
        """Bytes of all masks."""
        if not self._fused:
            return self._eager_bytes * run.sequences * tokens * tokens
        if is_chunked(self._stack, tokens, run):
            return tokens * sum({keys_of(mixer, tokens, run) for mixer in self._mixers})
        if not self._causal and not self._windows:
            return 0
        causal = run.sequences if self._causal else 0
        return tokens * tokens * (causal + sum([tokens >= window for window in self._windows]))


def position_bytes(spec: ModelSpec, stack: Stack, implementation: Implementation, kind: PassKind) -> tuple[int, int]:
    """Positions held through the pass, in bytes per token whatever the sequences, and per token of each sequence.

    Rotary cos and sin, or the rows of a learned table, and position ids (int64).
    """
    if spec.positions == "rope" and stack.role in ("decoder", "encoder"):
        attentions = (part for block in stack.blocks for part in parts_of(block.mixer))
        dims = max((a.key_dim for a in attentions if isinstance(a, FullAttention | EncoderAttention)), default=0)
        wide = 4 if implementation.float32_positions else kind.element_bytes
        return 2 * dims * wide + 8, 0
    if stack.role != "decoder":
        return 0, 0
    if spec.positions == "learned":
        table = stack.hidden_dim * kind.element_bytes
        return (8, table) if implementation.positions_each else (table + 8, 0)
    return 8, 0


TOWER_ONCE = ("idefics3", "smolvlm")
"""Model types whose projector reads the tower's output as it is, without a slice of it."""


def image_bytes(spec: ModelSpec, stack: Stack, kind: PassKind) -> int:
    """What an image tower leaves behind of each image while the text runs.

    A language model holds its output twice (before and after the projector's slice, where there is one) and the projected
    tokens twice; CLIP's text tower runs beside the image tower's output. Source: traces of LLaVA-1.5, SmolVLM and CLIP in
    transformers 5.23.
    """
    vision = spec.stack("vision")
    if vision is None or vision is stack or vision.fixed_tokens is None:
        return 0
    tower = vision.fixed_tokens * vision.tiles * vision.hidden_dim * kind.element_bytes
    if spec.kind == "clip":
        return tower if stack.role == "encoder" else 0
    if stack.role != "decoder" or not spec.image_tokens:
        return 0
    outputs = 1 if spec.model_type in TOWER_ONCE else 2
    return outputs * tower + 2 * spec.image_tokens * stack.hidden_dim * kind.element_bytes


def per_layer_bytes(spec: ModelSpec, stack: Stack, kind: PassKind) -> int:
    """Gemma 3n and 4 embed each token once more for every layer and hold that through the pass: bytes per token of each sequence."""
    if stack.role != "decoder":
        return 0
    groups = (group for group in spec.tensors if group.name.endswith("per_layer_model_projection.weight"))
    return sum(group.shape[0] for group in groups) * kind.element_bytes


def shared_bytes(spec: ModelSpec, stack: Stack, kind: PassKind) -> int:
    """What a model cut to one layer holds less of each token: the residual is the embedding itself, which deeper ones keep beside it.

    Positions that are added to the embedding make another tensor of it. Source: traces of one and of three layers.
    """
    alone = stack.role == "decoder" and stack.layers == 1 and spec.positions == "rope"
    return stack.hidden_dim * kind.element_bytes if alone else 0


def encoded_bytes(spec: ModelSpec, stack: Stack, block: Block, kind: PassKind) -> int:
    """What a decoder holds of each token of an encoder: its output, and one layer's keys and values beside the cache.

    Keys and values are repeated where heads share them.
    """
    encoder = encoder_of(spec)
    if stack.role != "decoder" or encoder is None:
        return 0
    width = encoder.hidden_dim
    if block.cross is not None:
        shared = block.cross.kv_heads < block.cross.query_heads
        width += 2 * (block.cross.query_heads if shared else block.cross.kv_heads) * block.cross.key_dim
    return width * kind.element_bytes


class BesideBlock:
    """What is held while one block of a stack runs, beside what the block itself holds."""

    def __init__(
        self, spec: ModelSpec, stack: Stack, block: Block, implementation: Implementation, kind: PassKind
    ) -> None:
        self._spec = spec
        self._masks = Masks(stack, implementation, kind)
        once, each = position_bytes(spec, stack, implementation, kind)
        self._token_bytes = once
        self._row_bytes = each + per_layer_bytes(spec, stack, kind) - shared_bytes(spec, stack, kind)
        self._image_bytes = image_bytes(spec, stack, kind)
        self._encoded_bytes = encoded_bytes(spec, stack, block, kind)

    def bytes(self, tokens: int, run: Pass) -> int:
        """Bytes with `tokens` tokens of each sequence at once."""
        sequences = run.sequences
        total = tokens * (self._token_bytes + sequences * self._row_bytes) + self._masks.bytes(tokens, run)
        if self._image_bytes:
            total += sequences * images_per_sequence(self._spec, run.workload) * self._image_bytes
        return total + sequences * run.encoder_tokens * self._encoded_bytes
