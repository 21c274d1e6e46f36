"""A plain roofline with measured efficiency: a step costs launching its layers, and reading or computing what they hold.

The efficiency belongs to the engine, the class of device and the precision (catalog data, `SpeedClass`), and so does the
width of the range. A device class that was never measured borrows a row and widens the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.operations import Reading, decode_weight_bytes, reading_passes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Device, Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.efficiency import SpeedClass
    from fmkit.speed.operations import TowerPass

BORROWED_FACTOR = 1.6
"""How much wider each side of the range is where the efficiency of another class of device is borrowed (assumed)."""


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """One device with the rates its row of efficiencies leaves it: bytes and operations per second (None: unknown)."""

    row: SpeedClass
    bytes_per_s: float
    operations_per_s: float | None

    def pass_s(self, tower: TowerPass) -> float | None:
        """Seconds of one pass: launching, and the larger of operations over the reached rate and one reading of the weights.

        A sum even where launching overlaps, for nobody measured short passes apart: an upper bound by at most a factor of two.
        """
        if self.operations_per_s is None:
            return None
        work_s = max(tower.operations / self.operations_per_s, tower.weight_bytes / self.bytes_per_s)
        return self.row.layers_s(tower.layers) + work_s

    def passes_s(self, towers: Sequence[TowerPass]) -> float | None:
        """Seconds of several passes, one after the other; None for none, or where the matrix rate is unknown."""
        seconds = [found for tower in towers if (found := self.pass_s(tower)) is not None]
        return sum(seconds) if seconds else None


def estimate(
    spec: ModelSpec,
    memory: MemoryEstimate,
    layout: Layout,
    machine: Machine | None,
    classes: Sequence[SpeedClass],
    prompt_tokens: int | None = None,
    images: int | None = None,
) -> SpeedEstimate | None:
    """Speed of `spec` on `machine` at the workload of `memory`; None where it can't be told: `missing_reason` says why.

    `prompt_tokens` defaults to all that the workload holds; `images` per sequence, to one for a model that takes images, as memory
    does. Rates are tokens per second; `throughput` counts the generated tokens of all sequences. An encoder has no decode rate;
    its `prefill_tokens_per_s` is the rate at which it reads.
    """
    device = machine.device if machine is not None else None
    if device is None or device.bandwidth_bytes_per_s is None or _converts(memory, device):
        return None
    found = _match(classes, device, memory.precision, mixture=spec.is_mixture)
    if found is None:
        return None
    row, borrowed = found[0], found[1] or (device.device_class == "cpu" and not device.verified)
    # layers spread over devices run one after the other: one device's bandwidth and rate
    peak = _peak_flops(device, memory.cache_dtype)
    rated = Rated(
        row=row,
        bytes_per_s=row.decode_efficiency * device.bandwidth_bytes_per_s,
        operations_per_s=None if peak is None else row.prefill_efficiency * peak,
    )
    reading, read_tokens = _reading(spec, memory, prompt_tokens, images)
    towers = reading_passes(spec, layout, reading)
    read_s = rated.passes_s(towers)
    images_s = rated.passes_s([tower for tower in towers if tower.role in ("vision", "qformer")])
    step_s = _step_s(spec, memory, layout, rated)
    widen = BORROWED_FACTOR if borrowed else 1.0
    low, high = row.low_factor / widen, row.high_factor * widen
    return SpeedEstimate(
        ttft_s=_range(read_s, 1 / high, 1 / low) if read_s else None,
        prefill_tokens_per_s=_range(read_tokens * memory.sequences / read_s, low, high) if read_s else None,
        decode_tokens_per_s=_range(1 / step_s, low, high) if step_s else None,
        throughput_tokens_per_s=_range(memory.sequences / step_s, low, high) if step_s else None,
        images_per_s=_range(reading.images * memory.sequences / images_s, low, high) if images_s else None,
        basis="extrapolated" if borrowed or not row.points else "class",
        bound=_bound(spec, towers, rated, step_s, read_s),
        reason=_reason(row, device, _launched_layers(spec), borrowed=borrowed),
    )


def missing_reason(memory: MemoryEstimate, machine: Machine | None) -> str:
    """Why `estimate` gave no speed for this memory on this machine. `machine` is the one that was handed to `estimate`."""
    device = machine.device if machine is not None else None
    if device is None:
        return "no device is named, and a size of memory says nothing about speed"
    if _converts(memory, device):
        return "PyTorch converts float16 on this CPU; not measured"
    if device.bandwidth_bytes_per_s is None:
        return f"the memory bandwidth of {device.name} is unknown"
    kind = "a CPU" if device.device_class == "cpu" else "an accelerator"
    return f"nobody measured {memory.engine} at {memory.precision.upper()} on {kind} for us"


def _converts(memory: MemoryEstimate, device: Device) -> bool:
    """PyTorch converts float16 to float32 and back on most CPUs; how slow that is was not measured."""
    return device.device_class == "cpu" and memory.cache_dtype == "float16" and memory.engine == "transformers"


def _reading(
    spec: ModelSpec, memory: MemoryEstimate, prompt_tokens: int | None, images: int | None
) -> tuple[Reading, int]:
    """What is read before the first token, and the tokens that its rate counts: of the encoder, where text goes in there."""
    prompt = min(prompt_tokens or memory.context_tokens, memory.context_tokens)
    encoder = memory.encoder_tokens
    if spec.cached_stack is not None and spec.stack("encoder") is not None and encoder:
        prompt = encoder = min(prompt_tokens or encoder, encoder)
    elif spec.stack("audio") is not None:
        prompt = min(prompt_tokens or 1, memory.context_tokens)
    seen = images if images is not None else 1
    reading = Reading(
        prompt_tokens=prompt,
        encoder_tokens=encoder,
        images=seen if spec.stack("vision") is not None else 0,
        sequences=memory.sequences,
    )
    return reading, prompt


def _step_s(spec: ModelSpec, memory: MemoryEstimate, layout: Layout, rated: Rated) -> float | None:
    """Seconds of one decode step of all sequences; None for a model that does not decode."""
    stack = spec.cached_stack
    if stack is None:
        return None
    read = decode_weight_bytes(spec, layout, memory.sequences) + memory.cache_bytes
    return rated.row.step_s(stack.layers, read / rated.bytes_per_s)


def _launched_layers(spec: ModelSpec) -> int:
    """Layers of the step that the reason tells of: the decoder's, or all towers' of a model that does not decode."""
    return spec.cached_stack.layers if spec.cached_stack is not None else sum(stack.layers for stack in spec.stacks)


def _bound(
    spec: ModelSpec, towers: Sequence[TowerPass], rated: Rated, step_s: float | None, read_s: float | None
) -> Literal["bandwidth", "compute", "overhead"]:
    """What a decode step (a pass, where nothing decodes) mostly waits for."""
    if step_s is not None:
        return "overhead" if rated.row.layers_s(_launched_layers(spec)) > step_s / 2 else "bandwidth"
    launch_s = sum(rated.row.layers_s(tower.layers) for tower in towers)
    return "overhead" if read_s is not None and launch_s > read_s / 2 else "compute"


def _peak_flops(device: Device, dtype: str) -> float | None:
    """Dense peak of the device for the type computed in; bfloat16 and float16 share a rate where only one is stated."""
    rates = device.flops_per_s
    order = {"bfloat16": ("bfloat16", "float16"), "float16": ("float16", "bfloat16"), "float32": ("float32",)}
    return next((rates[name] for name in order.get(dtype, (dtype,)) if name in rates), None)


def _match(
    classes: Sequence[SpeedClass], device: Device, precision: str, *, mixture: bool
) -> tuple[SpeedClass, bool] | None:
    """The row to use, and whether it is borrowed from another class of device.

    Only rows for this precision and for this kind of model (mixture of experts or dense) count; None without one. Of these the
    first in the file that was measured on this device's class, vendor and memory kind; without one the first of the same side,
    CPU or accelerator, whatever its class, vendor and memory: the file's order decides, nothing looks for the nearest.
    """

    def measured(row: SpeedClass) -> bool:
        return (
            device.device_class in row.device_classes
            and (not row.vendors or device.vendor in row.vendors)
            and (not row.memory_kinds or device.memory_kind in row.memory_kinds)
        )

    cpu = device.device_class == "cpu"
    rows = [
        row for row in classes if (not row.precisions or precision in row.precisions) and row.mixture in (None, mixture)
    ]
    exact = next((row for row in rows if measured(row)), None)
    if exact is not None:
        return exact, False
    lent = next((row for row in rows if ("cpu" in row.device_classes) == cpu), None)
    return None if lent is None else (lent, True)


def _range(median: float, low: float, high: float) -> Range:
    return Range(low=median * low, median=median, high=median * high)


def _reason(row: SpeedClass, device: Device, layers: int, *, borrowed: bool) -> str:
    bandwidth = f"{row.decode_efficiency:.0%} of {device.name}'s bandwidth"
    launch = f"{row.layers_s(layers) * 1000:.3g} ms to launch {layers} layers"
    share = f"the longer of {bandwidth} and {launch}" if row.overlaps else f"{bandwidth} plus {launch}"
    where = f"{row.points} measurements of this class" if row.points else "assumed"
    if borrowed:
        where = (
            "rates assumed from its cores" if device.device_class == "cpu" else "borrowed from another class of device"
        )
    return f"{share}, {where} ({row.source})"
