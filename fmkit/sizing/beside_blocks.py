"""What stays alive beside the blocks of a stack: masks, positions, image features, per-layer inputs, an encoder's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.layers import CompressedAttention, EncoderAttention, FullAttention, SlidingAttention, parts_of
from fmkit.sizing.forward import Pass, encoder_of, images_per_sequence
from fmkit.sizing.held import is_chunked, is_fused, keys_of, widths
from fmkit.sizing.implementations import Implementation

if TYPE_CHECKING:
    from fmkit.model.spec import Block, ModelSpec, Stack


def mask_bytes(stack: Stack, implementation: Implementation, tokens: int, run: Pass) -> int:
    """Explicit masks, held through the pass, one for each kind of attention in the stack.

    A fused call needs none but a sliding window's, one byte per pair of tokens, once the prompt reaches the window
    (some models make a causal one, per sequence). Eager attention adds numbers: element_bytes per pair and sequence.
    """
    parts = [part for block in stack.blocks for part in parts_of(block.mixer)]
    mixers = [part for part in parts if isinstance(part, FullAttention)]
    windows = {mixer.window_tokens for mixer in mixers if isinstance(mixer, SlidingAttention)}
    if is_fused(implementation, run) and is_chunked(stack, tokens, run):
        return tokens * sum({keys_of(mixer, tokens, run) for mixer in mixers})
    if is_fused(implementation, run):
        causal = run.sequences if implementation.bool_mask else 0
        return tokens * tokens * (causal + sum(tokens >= window for window in windows))
    kinds = len(windows) + any(not isinstance(mixer, SlidingAttention) for mixer in mixers)
    kinds += any(isinstance(part, CompressedAttention) for part in parts)
    return kinds * run.sequences * tokens * tokens * run.element_bytes


def mask_copy_bytes(block: Block, tokens: int, run: Pass) -> int:
    """Inside a fused call a window's mask is turned into numbers, and keys and values are repeated per query head."""
    mixer = block.mixer
    if not isinstance(mixer, SlidingAttention) or tokens < mixer.window_tokens:
        return 0
    query, _ = widths(block)
    return tokens * tokens * run.element_bytes + run.sequences * tokens * 4 * query * run.element_bytes


def positions_bytes(spec: ModelSpec, stack: Stack, implementation: Implementation, tokens: int, run: Pass) -> int:
    """Positions held through the pass: rotary cos and sin, or the rows of a learned table, and position ids (int64)."""
    if spec.positions == "rope" and stack.role in ("decoder", "encoder"):
        attentions = (part for block in stack.blocks for part in parts_of(block.mixer))
        dims = max((a.key_dim for a in attentions if isinstance(a, FullAttention | EncoderAttention)), default=0)
        wide = 4 if implementation.float32_positions else run.element_bytes
        return tokens * (2 * dims * wide + 8)
    if stack.role != "decoder":
        return 0
    if spec.positions == "learned":
        rows = run.sequences if implementation.positions_each else 1
        return tokens * (rows * stack.hidden_dim * run.element_bytes + 8)
    return tokens * 8


def image_bytes(spec: ModelSpec, stack: Stack, run: Pass) -> int:
    """What an image tower leaves behind while the text runs.

    A language model holds its output twice (before and after the projector's slice) and the projected tokens twice;
    CLIP's text tower runs beside the image tower's output. Source: traces of LLaVA-1.5 and CLIP in transformers 5.23.
    """
    vision = spec.stack("vision")
    if vision is None or vision is stack or vision.fixed_tokens is None:
        return 0
    images = run.sequences * images_per_sequence(spec, run.workload)
    tower = images * vision.fixed_tokens * vision.hidden_dim * run.element_bytes
    if spec.kind == "clip":
        return tower if stack.role == "encoder" else 0
    if stack.role != "decoder" or not spec.image_tokens:
        return 0
    return 2 * (tower + images * spec.image_tokens * stack.hidden_dim * run.element_bytes)


def per_layer_bytes(spec: ModelSpec, stack: Stack, rows: int, run: Pass) -> int:
    """Gemma 3n and 4 embed each token once more for every layer and hold that through the pass."""
    if stack.role != "decoder":
        return 0
    groups = (group for group in spec.tensors if group.name.endswith("per_layer_model_projection.weight"))
    return rows * sum(group.shape[0] for group in groups) * run.element_bytes


def encoded_bytes(spec: ModelSpec, stack: Stack, block: Block, run: Pass) -> int:
    """What a decoder holds of an encoder: its output, and one layer's keys and values beside the cache (repeated where heads share them)."""
    encoder = encoder_of(spec)
    if stack.role != "decoder" or encoder is None:
        return 0
    width = encoder.hidden_dim
    if block.cross is not None:
        shared = block.cross.kv_heads < block.cross.query_heads
        width += 2 * (block.cross.query_heads if shared else block.cross.kv_heads) * block.cross.key_dim
    return run.sequences * run.encoder_tokens * width * run.element_bytes
