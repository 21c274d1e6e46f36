"""The answer of sizing: an estimate made of lines, each with its basis."""

from __future__ import annotations

from typing import Literal

import msgspec

Basis = Literal["header", "formula", "measured", "assumed"]
"""Where a number comes from: read in a file's header, computed from the architecture, measured, or assumed."""

Phase = Literal["load", "prefill", "steady"]
"""When the bytes are held: while loading, while the prompt is processed, or from the first decode step on."""

Attention = Literal["sdpa", "eager", "flash"]


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is to hold at once: tokens per sequence in the decoder's cache, tokens of the encoder, sequences.

    `encoder_tokens` None means the default: as many as the context, or what the model fixes. `images` are per sequence,
    and their tokens are part of `context_tokens`. `options` are an engine's own settings by name (`block_size`, `ubatch`).
    """

    context_tokens: int
    sequences: int = 1
    encoder_tokens: int | None = None
    images: int | None = None
    attention: Attention = "sdpa"
    options: dict[str, str] = {}
    tensor_parallel: int = 1


class MemoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the memory: how many bytes, when, and why we believe it. `formula` has the numbers put in."""

    part: str
    bytes: int
    phase: Phase
    basis: Basis
    reason: str
    source: str
    formula: str = ""


class MemoryEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one model in one engine, precision and workload. All figures are bytes of need, for the whole model.

    `weights_bytes` are resident weights; `cache_bytes` the steady cache of all sequences; `steady_bytes` what is held while
    decoding; `peak_bytes` the most at any moment, which `low_bytes` and `high_bytes` bound; `reserved_bytes` what the engine
    takes beyond need. peak >= steady >= weights + cache. `valid` is False past a hard limit of the model.
    """

    engine: str
    engine_version: str
    precision: str
    layout: str
    cache_dtype: str
    context_tokens: int
    encoder_tokens: int
    sequences: int
    tensor_parallel: int
    pipeline_parallel: int
    valid: bool
    weights_bytes: int
    cache_bytes: int
    steady_bytes: int
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    reserved_bytes: int
    per_device_bytes: int
    lines: tuple[MemoryLine, ...]
    fits: bool | None = None
    budget_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def short_bytes(self) -> int:
        """Bytes missing on the most loaded device; 0 where it fits or there is no budget."""
        if self.budget_bytes is None:
            return 0
        return max(0, self.per_device_bytes - self.budget_bytes // (self.tensor_parallel * self.pipeline_parallel))


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The inverse of an estimate: the most that fits into a budget, per precision and over all of them.

    `limited_by` says what stops a longer context: memory, or the model's own limit. `short_bytes` is what is missing where
    nothing fits. `cut` names the largest part that could be made smaller.
    """

    budget_bytes: int
    best_precision: str | None
    max_context_tokens: int | None
    max_sequences: int | None
    limited_by: Literal["memory", "model"]
    smallest_device: str | None
    short_bytes: int
    cut: str | None
    precisions: tuple[PrecisionFit, ...]


class PrecisionFit(msgspec.Struct, frozen=True, kw_only=True):
    """What fits at one precision: context for the sequences asked for, sequences for the context asked for."""

    precision: str
    fits: bool
    max_context_tokens: int | None
    max_sequences: int | None
    limited_by: Literal["memory", "model"]
    short_bytes: int
    smallest_device: str | None
