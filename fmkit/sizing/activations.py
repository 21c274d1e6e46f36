"""Activations: the most memory a forward pass holds beside the weights, as transformers 5.23 runs it.

A moment is a point of the pass that may be its peak: in a block of a stack (`fmkit.sizing.block_peaks`), or at the
logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.sizing.block_peaks import block_moment
from fmkit.sizing.forward import Moment, Pass, encoder_of, stack_tokens
from fmkit.sizing.held import mlp_bytes, running_as

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec


def prefill_moments(spec: ModelSpec, run: Pass, quantising_bytes: int = 0) -> list[Moment]:
    """The moments at which processing the input may peak.

    A decoder's prompt is the whole context; the decoder of an encoder-decoder starts from one token, and its encoder
    reads `encoder_tokens`. `quantising_bytes` are what putting one layer's keys away takes, in the layer's attention.
    Bytes are for all sequences.
    """
    moments = [
        block_moment(spec, stack, block, tokens, run, quantising_bytes if stack.role == "decoder" else 0)
        for stack in spec.stacks
        if (tokens := stack_tokens(spec, stack, run))
        for block in stack.blocks
    ]
    if spec.has_head and spec.vocab_size and spec.kind != "clip":
        moments.append(_logits_moment(spec, run))
    return moments


def decode_moment(spec: ModelSpec, run: Pass, growth: int) -> Moment | None:
    """What one decode step holds beside weights and cache; None for a model that does not decode.

    Bytes = the larger of one token through a block while its cache grows (`growth` bytes) and the logits after all
    blocks (in the model's type and once in float32 for sampling) + an encoder's output, which stays alive while the
    decoder runs.
    """
    stack = spec.cached_stack
    if stack is None:
        return None
    steps = (
        mlp_bytes(stack, block, running_as(spec, stack, block, run)[0], run.sequences, run) for block in stack.blocks
    )
    step = max(steps, default=0)  # no blocks: a device with the embedding or the head alone
    logits = run.sequences * (spec.vocab_size or 0) * (run.element_bytes + 4)
    encoder = encoder_of(spec)
    encoded = run.sequences * run.encoder_tokens * encoder.hidden_dim * run.element_bytes if encoder is not None else 0
    total = max(growth + step, logits) + encoded
    tail = f" + {encoded:,} B encoder output" if encoded else ""
    return Moment(
        name="decode step",
        bytes=total,
        basis="formula",
        reason="one token's activations and one layer's keys held twice while they grow, or the logits",
        formula=f"the larger of {growth:,} B growth + {step:,} B step and {logits:,} B logits{tail} = {total:,} B",
    )


def _logits_moment(spec: ModelSpec, run: Pass) -> Moment:
    """The output head: logits of the last token where the implementation can, else of every token it was given."""
    decoder_only = spec.cached_stack is not None and encoder_of(spec) is None
    given = run.workload.context_tokens if decoder_only or spec.cached_stack is None else 1
    tokens = 1 if spec.logits_to_keep and not run.all_logits else given
    vocab = spec.vocab_size or 0
    hidden = 2 * run.sequences * given * spec.stacks[0].hidden_dim * run.element_bytes
    logits = run.sequences * tokens * vocab * run.element_bytes
    which = "every token" if tokens == given > 1 else "the last token"
    return Moment(
        name="logits",
        bytes=logits + hidden,
        basis="formula",
        reason=f"logits of {which} over {vocab:,} words",
        formula=f"{run.sequences} x {tokens:,} tokens x {vocab:,} words x {run.element_bytes} B + {hidden:,} B hidden states",
        holds_cache=spec.cached_stack is not None,
    )
