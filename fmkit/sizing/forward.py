"""One forward pass as activations see it: the work, how wide an element is, and which tokens pass through which stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec, Stack
    from fmkit.sizing.drafts import Words
    from fmkit.sizing.estimate import Attention, Workload


SOURCE = "multiples read from traces of transformers 5.23 (tests/sizing/test_activations.py)"


class PassKind(NamedTuple):
    """What a forward pass is, whatever its tokens and sequences: the width of an element, the device, the attention asked for."""

    element_bytes: int
    on_cpu: bool
    attention: Attention


TOWERS_OF_IMAGES = ("vision", "qformer")
"""Stacks that run once for each tile of each image."""


class Pass(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What all moments of one forward pass share: the work, the width of an element, and whether it runs on a CPU.

    `all_logits` asks for every token's logits; `chunk_tokens` is how many tokens of a decoder's prompt are read at
    once, None for all. `unpacked_bytes` is the largest matrix of a feed-forward that is unpacked to 16 bit for its
    product, `in_int8` says that products are made in 8 bit.
    """

    workload: Workload
    encoder_tokens: int
    element_bytes: int
    on_cpu: bool
    all_logits: bool = False
    chunk_tokens: int | None = None
    unpacked_bytes: int = 0
    in_int8: bool = False

    @property
    def sequences(self) -> int:
        """Sequences processed at once."""
        return self.workload.sequences

    @property
    def kind(self) -> PassKind:
        """What does not depend on tokens and sequences."""
        return PassKind(self.element_bytes, self.on_cpu, self.workload.attention)


class Moment(NamedTuple):
    """A moment of a forward pass and the bytes it holds beside weights and cache; its words are made when they are asked for.

    `holds_cache` is False for a moment before the cache exists: an encoder, a vision tower.
    """

    name: str
    bytes: int
    words: Callable[[], Words]
    holds_cache: bool = True


def stack_tokens(spec: ModelSpec, stack: Stack, run: Pass) -> int:
    """Tokens of one row of the batch that pass through a stack during prefill; 0 if the workload does not touch it."""
    if stack.role in TOWERS_OF_IMAGES:
        return (stack.fixed_tokens or 0) if images_per_sequence(spec, run.workload) else 0
    if stack.fixed_tokens is not None:
        return stack.fixed_tokens
    if stack.role == "decoder":
        prompt = run.workload.context_tokens
        return 1 if encoder_of(spec) is not None else min(prompt, run.chunk_tokens or prompt)
    if stack.role == "encoder" and spec.cached_stack is not None:
        return run.encoder_tokens
    limit = stack.max_tokens or run.workload.context_tokens
    return min(limit, run.workload.context_tokens)


def stack_pass(spec: ModelSpec, stack: Stack, run: Pass) -> Pass:
    """The pass as a stack sees it: for a tower of images every tile of every image is a row of the batch."""
    if stack.role not in TOWERS_OF_IMAGES:
        return run
    rows = run.sequences * stack.tiles * images_per_sequence(spec, run.workload)
    if rows == run.sequences:
        return run
    return msgspec.structs.replace(run, workload=msgspec.structs.replace(run.workload, sequences=rows))


def encoder_of(spec: ModelSpec) -> Stack | None:
    """The stack whose output a decoder attends to, None for a model without one."""
    return spec.attended_stack


def images_per_sequence(spec: ModelSpec, workload: Workload) -> int:
    """Images per sequence: what was asked, else one for a model that takes images."""
    if workload.images is not None:
        return workload.images
    return 1 if spec.stack("vision") is not None else 0
