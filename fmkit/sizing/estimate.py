"""The answer of sizing: an estimate made of lines, each with its basis."""

from __future__ import annotations

from typing import Literal

import msgspec

Basis = Literal["header", "formula", "measured", "assumed"]
"""Where a number comes from: read in a file's header, computed from the architecture, measured, or assumed."""

Phase = Literal["load", "prefill", "steady", "forward", "backward", "step"]
"""When the bytes are held: while loading, while the prompt is processed, from the first decode step on; in training
between steps (`steady`), at the end of forward, in backward, or while the optimiser steps."""

Attention = Literal["sdpa", "eager", "flash"]

EXPERTS_WITH_HOST = "weights: experts with the host"
"""The line of experts that lie in main memory while the rest of their layers is on a device."""

Offload = Literal["cpu", "disk"]
"""Where weights go that a device has no room for: main memory (and disk where that is full too), or disk alone."""


class TracedPeaks(msgspec.Struct, frozen=True, kw_only=True):
    """The most bytes that the real implementation holds beside its weights, cache included, as a trace without weights counted them.

    `prefill_bytes` while the input is processed; `decode_bytes` in the step after it, None for a model that does not
    decode. `source` names what was traced and how.
    """

    prefill_bytes: int
    decode_bytes: int | None
    source: str


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is to hold at once: tokens per sequence in the decoder's cache, tokens of the encoder, sequences.

    `encoder_tokens` None means the default: as many as the context, or what the model fixes. `images` are per sequence,
    and their tokens are part of `context_tokens`. `options` are an engine's own settings by name (`block_size`,
    `ubatch`). `tensor_parallel` devices share each layer, `pipeline_parallel` stages the layers, `expert_parallel`
    devices the experts; 1 leaves the choice to the engine. `offload` lets weights lie in main memory, or on disk where
    that is full. `traced` takes the place of the engine's formulas for activations.
    """

    context_tokens: int
    sequences: int = 1
    encoder_tokens: int | None = None
    images: int | None = None
    attention: Attention = "sdpa"
    options: dict[str, str] = {}
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: int = 1
    offload: Offload | None = None
    traced: TracedPeaks | None = None


class MemoryLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One part of the memory: how many bytes, when, and why we believe it. `formula` has the numbers put in."""

    part: str
    bytes: int
    phase: Phase
    basis: Basis
    reason: str
    source: str
    formula: str = ""

    @property
    def kind(self) -> str:
        """What the bytes are, without the detail: `weights`, `cache`, `activations`, `runtime`; bounds are stated by it."""
        return self.part.partition(":")[0]

    def written(self) -> MemoryLine:
        """The line itself; a draft writes its words here (`fmkit.sizing.drafts`)."""
        return self


class DeviceNeed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one device holds, or each of `count` devices that hold as much; `holds` says which part of the model."""

    holds: str
    count: int
    weights_bytes: int
    cache_bytes: int
    peak_bytes: int
    budget_bytes: int | None = None


class HostNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in main memory beside the devices, and on disk where main memory is full, as lines that sum to the figures.

    `budget_bytes` is what main memory offers, `budget_reason` why not all of it; None where it is not known, and then
    nothing is judged.
    """

    bytes: int
    disk_bytes: int
    lines: tuple[MemoryLine, ...]
    budget_bytes: int | None = None
    budget_reason: str = ""

    @property
    def weights_bytes(self) -> int:
        """Weights that lie in main memory and on disk."""
        return sum(line.bytes for line in self.lines if line.kind == "weights")

    @property
    def short_bytes(self) -> int:
        """Bytes missing in main memory."""
        return 0 if self.budget_bytes is None else max(0, self.bytes - self.budget_bytes)


class TrainingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How a training step was sized; `forward_bytes`, `backward_bytes` and `step_bytes` are its moments beside weights and states.

    `saved_bytes` is what forward leaves for backward; `gradient_bytes` all gradients at once.
    """

    method: str
    recipe: str
    optimizer: str
    lora_rank: int | None
    lora_targets: tuple[str, ...]
    checkpointing: bool
    batch: int
    trainable_params: int
    gradient_bytes: int
    optimizer_bytes: int
    adapter_bytes: int
    saved_bytes: int
    forward_bytes: int
    backward_bytes: int
    step_bytes: int


class MemoryEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one model in one engine, precision and workload. All figures are bytes of need, for the whole model.

    `weights_bytes` are resident weights; `cache_bytes` the steady cache of all sequences; `steady_bytes` what is held
    while decoding; `peak_bytes` the most at any moment, which `low_bytes` and `high_bytes` bound; `reserved_bytes` what
    the engine takes beyond need. peak >= steady >= weights + cache. `valid` is False past a hard limit of the model.

    `per_device_bytes` is the most loaded of the `devices`; `host` what lies in main memory or on disk, which is in none
    of the other figures. `pipeline_parallel` counts the devices that hold different layers. `fits` asks each device and
    main memory, and is False where the engine does not load it at all: `refused` says why. `tight`: it fits, but the high
    end of the range of a device's peak does not. `budget_reason` is the engine's
    setting where that offers less of a device than is usable. `droppable_bytes` of the peak are pages of a mapped file that
    nothing reads again: they do not decide what fits, `needed_bytes` does. `backend` is what llama.cpp is built with, and
    `flash_attention` whether that is on, None where nobody said: memory counts it as on then, as llama.cpp does; speed depends on both.
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
    expert_parallel: int = 1
    devices: tuple[DeviceNeed, ...] = ()
    host: HostNeed | None = None
    training: TrainingFacts | None = None
    refused: str | None = None
    tight: bool | None = None
    budget_reason: str = ""
    droppable_bytes: int = 0
    backend: str | None = None
    flash_attention: bool | None = None

    @property
    def needed_bytes(self) -> int:
        """What must stay on the most loaded device."""
        return self.per_device_bytes - self.droppable_bytes

    @property
    def devices_used(self) -> int:
        """Devices that hold a part of the model."""
        return sum(device.count for device in self.devices) or 1

    @property
    def host_is_used(self) -> bool:
        """Whether layers or experts lie in main memory or on disk, and are slow for it; an embedding there is not."""
        names = ("weights: off-loaded", "weights: on disk", "cache: left with the host", EXPERTS_WITH_HOST)
        return self.host is not None and any(line.part in names for line in self.host.lines)

    @property
    def device_budget_bytes(self) -> int | None:
        """What the engine may use of one device; None where nothing was judged."""
        budgets = [device.budget_bytes for device in self.devices if device.budget_bytes is not None]
        return budgets[0] if budgets else self.budget_bytes

    @property
    def short_bytes(self) -> int:
        """Bytes missing where most are: on the most loaded device or in main memory; 0 where it fits or there is no budget."""
        budget = self.device_budget_bytes
        if budget is None:
            return 0
        return max(0, self.needed_bytes - budget, self.host.short_bytes if self.host is not None else 0)


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """One change alone: what it saves on the most loaded device, whether it then fits, and the option that asks for it."""

    change: str
    option: str
    saves_bytes: int
    fits: bool


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The inverse of an estimate: the most that fits into a budget, per precision and over all of them.

    `limited_by` says what stops a longer context: memory, or the model's own limit. `short_bytes` is what is missing
    where nothing fits. `cut` names the largest part that could be made smaller, `cuts` the changes that save memory.
    `smallest_device` alone holds it, `fewest_devices` of the machine's kind together; where no device alone does,
    `smallest_devices` do (`h100-sxm5-80gb:2`).
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
    fewest_devices: int | None = None
    smallest_devices: str | None = None
    max_gpu_layers: int | None = None
    cuts: tuple[Cut, ...] = ()


class PrecisionFit(msgspec.Struct, frozen=True, kw_only=True):
    """What fits at one precision: context for the sequences asked for, sequences for the context asked for.

    `max_gpu_layers` is llama.cpp's, the output matrix counted as one more. `cuts` are given where it does not fit.
    """

    precision: str
    fits: bool
    max_context_tokens: int | None
    max_sequences: int | None
    limited_by: Literal["memory", "model"]
    short_bytes: int
    smallest_device: str | None
    fewest_devices: int | None = None
    smallest_devices: str | None = None
    max_gpu_layers: int | None = None
    cuts: tuple[Cut, ...] = ()
