"""How much of the work is attention: operations that grow with the square of the tokens, beside those that grow with the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.attention import ChunkedAttention, SlidingAttention
from fmkit.model.layers import parts_of
from fmkit.speed.attention import attention_width
from fmkit.speed.estimate import AttentionShare
from fmkit.speed.operations import Reading, decode_pass, reading_passes

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, Stack


def attention_share(
    spec: ModelSpec, layout: Layout, reading: Reading, context_tokens: int, engine: str, score_bytes: int | None
) -> AttentionShare:
    """The share in an engine at one context; a decoder reads a prompt of `reading.prompt_tokens` and decodes with `context_tokens` held."""
    passes = reading_passes(spec, layout, reading)
    every = sum(tower.operations for tower in passes)
    attention = sum(tower.attention_operations for tower in passes)
    step = decode_pass(spec, layout, context_tokens, reading.sequences, 0, engine)
    return AttentionShare(
        context_tokens=context_tokens,
        sequences=reading.sequences,
        prefill_operations=every,
        prefill_attention_operations=attention,
        prefill_share=attention / every if every else 0.0,
        decode_operations=step.operations if step is not None else None,
        decode_attention_operations=step.attention_operations if step is not None else None,
        decode_share=step.attention_operations / step.operations if step is not None else None,
        score_bytes=score_bytes,
        order=_order(spec.stacks[0]),
        formula=_formula(spec.stacks[0], reading, attention, every),
    )


def _order(stack: Stack) -> str:
    """How the attention of a stack grows with its n tokens: layers by n², by n times a window, and by n."""
    square = windowed = linear = 0
    for block in stack.blocks:
        for part in parts_of(block.mixer):
            if not attention_width(part):
                linear += block.count
            elif isinstance(part, SlidingAttention | ChunkedAttention) or getattr(part, "window_tokens", None):
                windowed += block.count
            else:
                square += block.count
    named = ((square, "n²"), (windowed, "n x window"), (linear, "n"))
    return ", ".join(f"{count} layers by {growth}" for count, growth in named if count)


def _formula(stack: Stack, reading: Reading, attention: float, every: float) -> str:
    """Attention of the first stack with the numbers put in, and the share it makes of all operations."""
    widths = [
        f"{block.count} layers x 2 x {attention_width(part):,}"
        for block in stack.blocks
        for part in parts_of(block.mixer)
        if attention_width(part)
    ]
    if not widths:
        return f"no layer attends to earlier tokens: 0 of {every:.3g} operations"
    terms = " + ".join(dict.fromkeys(widths[:MOST_TERMS])) + (" + ..." if len(widths) > MOST_TERMS else "")
    return (
        f"({terms}) operations per pair of tokens, {reading.sequences} x {reading.prompt_tokens:,} tokens: "
        f"{attention:.3g} of {every:.3g} operations"
    )


MOST_TERMS = 4
"""Terms of a formula that are written out."""
