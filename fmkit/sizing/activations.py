"""Activations: the most memory a forward pass holds beside the weights, as transformers 5.23 runs it.

A moment is a point of the pass that may be its peak: in a block of a stack (`fmkit.sizing.block_peaks`), or at the
logits. What depends on the model and the kind of pass alone is worked out once, in `Activations`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fmkit.sizing.block_peaks import BlockPeaks
from fmkit.sizing.drafts import Words
from fmkit.sizing.forward import SOURCE, Moment, encoder_of, stack_pass, stack_tokens

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.forward import Pass, PassKind


class Activations:
    """What one model holds beside its weights while it runs, in one kind of pass; all bytes are for all sequences."""

    def __init__(self, spec: ModelSpec, kind: PassKind) -> None:
        self._spec = spec
        self._stacks = [
            (stack, [BlockPeaks(spec, stack, block, kind) for block in stack.blocks]) for stack in spec.stacks
        ]
        self._decoder = next((blocks for stack, blocks in self._stacks if stack.role == "decoder"), None)
        self._encoder = encoder_of(spec)
        self._has_logits = bool(spec.has_head and spec.vocab_size and spec.kind != "clip")
        self._one_token = spec.cached_stack is not None and self._encoder is not None
        self._element_bytes = kind.element_bytes

    def prefill(self, run: Pass, quantising_bytes: int = 0) -> list[Moment]:
        """The moments at which processing the input may peak.

        A decoder's prompt is the whole context; the decoder of an encoder-decoder starts from one token, and its encoder
        reads `encoder_tokens`. `quantising_bytes` are what putting one layer's keys away takes, in the layer's attention.
        """
        moments = [
            block.moment(tokens, stack_pass(self._spec, stack, run), quantising_bytes if stack.role == "decoder" else 0)
            for stack, blocks in self._stacks
            if (tokens := stack_tokens(self._spec, stack, run))
            for block in blocks
        ]
        if self._has_logits:
            moments.append(self._logits(run))
        return moments

    def decode(self, run: Pass, growth: int) -> Moment | None:
        """What one decode step holds beside weights and cache; None for a model that does not decode.

        Bytes = the larger of one token through a block while its cache grows (`growth` bytes) and the logits after all
        blocks (in the model's type and once in float32 for sampling) + an encoder's output, which stays alive while the
        decoder runs.
        """
        if self._decoder is None:
            return None
        # no blocks: a device with the embedding or the head alone
        step = max([block.step_bytes(run) for block in self._decoder], default=0)
        logits = run.sequences * (self._spec.vocab_size or 0) * (self._element_bytes + 4)
        encoded = 0
        if self._encoder is not None:
            encoded = run.sequences * run.encoder_tokens * self._encoder.hidden_dim * self._element_bytes
        total = max(growth + step, logits) + encoded
        return Moment(
            name="decode step", bytes=total, words=partial(_decode_words, growth, step, logits, encoded, total)
        )

    def score_bytes(self, run: Pass) -> int:
        """The most bytes of tokens x tokens matrices that attention holds at once, over all stacks; 0 where every call is fused."""
        return max(
            (
                block.score_bytes(tokens, stack_pass(self._spec, stack, run))
                for stack, blocks in self._stacks
                if (tokens := stack_tokens(self._spec, stack, run))
                for block in blocks
            ),
            default=0,
        )

    def _logits(self, run: Pass) -> Moment:
        """The output head: logits of the last token where the implementation can, else of every token it was given."""
        spec = self._spec
        given = 1 if self._one_token else run.workload.context_tokens
        tokens = 1 if spec.logits_to_keep and not run.all_logits else given
        hidden = 2 * run.sequences * given * spec.stacks[0].hidden_dim * self._element_bytes
        logits = run.sequences * tokens * (spec.vocab_size or 0) * self._element_bytes
        return Moment(
            name="logits",
            bytes=logits + hidden,
            words=partial(self._logits_words, run, given, tokens, hidden),
            holds_cache=self._decoder is not None,
        )

    def _logits_words(self, run: Pass, given: int, tokens: int, hidden: int) -> Words:
        vocab = self._spec.vocab_size or 0
        which = "every token" if tokens == given > 1 else "the last token"
        return Words(
            basis="formula",
            reason=f"logits of {which} over {vocab:,} words",
            formula=f"{run.sequences} x {tokens:,} tokens x {vocab:,} words x {run.element_bytes} B + {hidden:,} B hidden states",
            source=SOURCE,
        )


def _decode_words(growth: int, step: int, logits: int, encoded: int, total: int) -> Words:
    tail = f" + {encoded:,} B encoder output" if encoded else ""
    return Words(
        basis="formula",
        reason="one token's activations and one layer's keys held twice while they grow, or the logits",
        formula=f"the larger of {growth:,} B growth + {step:,} B step and {logits:,} B logits{tail} = {total:,} B",
        source=SOURCE,
    )
