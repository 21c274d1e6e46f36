"""A plain roofline with measured efficiency: time = fixed cost per token + bytes / (efficiency * bandwidth).

The efficiency belongs to the engine, the class of device and the precision (catalog data, `SpeedClass`), and so does the
width of the range. A device class that was never measured borrows the nearest row and widens the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.operations import decode_weight_bytes, prefill_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Device, Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.efficiency import SpeedClass

BORROWED_FACTOR = 1.6
"""How much wider each side of the range is where the efficiency of another class of device is borrowed (assumed)."""


def estimate(
    spec: ModelSpec,
    memory: MemoryEstimate,
    layout: Layout,
    machine: Machine | None,
    classes: Sequence[SpeedClass],
    prompt_tokens: int | None = None,
) -> SpeedEstimate | None:
    """Speed of `spec` on `machine` at the workload of `memory`; None where the device's bandwidth is unknown.

    `prompt_tokens` defaults to the whole context. Rates are tokens per second; `throughput` counts the generated tokens of all
    sequences. An encoder has no decode rate; its `prefill_tokens_per_s` is the rate at which it reads.
    """
    device = machine.device if machine is not None else None
    if machine is None or device is None or device.bandwidth_bytes_per_s is None:
        return None
    if device.device_class == "cpu" and memory.cache_dtype == "float16" and memory.engine == "transformers":
        return None  # PyTorch converts to float32 and back on most CPUs; how slow that is was not measured
    found = _match(classes, device, memory.precision)
    if found is None:
        return None
    row, borrowed = found[0], found[1] or (device.device_class == "cpu" and not device.verified)
    prompt = min(prompt_tokens or memory.context_tokens, memory.context_tokens)
    # layers spread over devices run one after the other: one device's bandwidth and rate
    prefill_s = _prefill_seconds(spec, memory, layout, device, row, prompt)
    step_s = _step_seconds(spec, memory, layout, device, row)
    widen = BORROWED_FACTOR if borrowed else 1.0
    low, high = row.low_factor / widen, row.high_factor * widen
    decodes = spec.cached_stack is not None
    overhead = row.token_overhead_s
    bound: Literal["bandwidth", "compute", "overhead"] = "overhead" if overhead > step_s / 2 else "bandwidth"
    return SpeedEstimate(
        ttft_s=_range(prefill_s + (step_s if decodes else 0), 1 / high, 1 / low) if prefill_s else None,
        prefill_tokens_per_s=_range(prompt * memory.sequences / prefill_s, low, high) if prefill_s else None,
        decode_tokens_per_s=_range(1 / step_s, low, high) if decodes else None,
        throughput_tokens_per_s=_range(memory.sequences / step_s, low, high) if decodes else None,
        basis="extrapolated" if borrowed or not row.points else "class",
        bound=bound if decodes else "compute",
        reason=_reason(row, device, borrowed=borrowed),
    )


def _step_seconds(spec: ModelSpec, memory: MemoryEstimate, layout: Layout, device: Device, row: SpeedClass) -> float:
    """Seconds of one decode step of all sequences: overhead + (weights + cache) / (efficiency * bandwidth)."""
    read = decode_weight_bytes(spec, layout, memory.sequences) + memory.cache_bytes
    bandwidth = device.bandwidth_bytes_per_s or 0
    return row.token_overhead_s + read / (row.decode_efficiency * bandwidth)


def _prefill_seconds(
    spec: ModelSpec, memory: MemoryEstimate, layout: Layout, device: Device, row: SpeedClass, prompt: int
) -> float | None:
    """Seconds to process the prompts: the larger of operations over the reached rate and one pass over the weights.

    None where the device's matrix rate is unknown for the type the engine computes in.
    """
    peak = _peak_flops(device, memory.cache_dtype)
    if peak is None:
        return None
    computed = prefill_operations(spec, prompt) * memory.sequences / (row.prefill_efficiency * peak)
    read = decode_weight_bytes(spec, layout, prompt) / (row.decode_efficiency * (device.bandwidth_bytes_per_s or 1))
    return row.token_overhead_s + max(computed, read)


def _peak_flops(device: Device, dtype: str) -> float | None:
    """Dense peak of the device for the type computed in; bfloat16 and float16 share a rate where only one is stated."""
    rates = device.flops_per_s
    order = {"bfloat16": ("bfloat16", "float16"), "float16": ("float16", "bfloat16"), "float32": ("float32",)}
    return next((rates[name] for name in order.get(dtype, (dtype,)) if name in rates), None)


def _match(classes: Sequence[SpeedClass], device: Device, precision: str) -> tuple[SpeedClass, bool] | None:
    """The row measured on this class of device and precision, else the nearest one and the word that it is borrowed."""

    def suits(row: SpeedClass) -> bool:
        return (
            device.device_class in row.device_classes
            and (not row.vendors or device.vendor in row.vendors)
            and (not row.memory_kinds or device.memory_kind in row.memory_kinds)
        )

    def precise(row: SpeedClass) -> bool:
        return not row.precisions or precision in row.precisions

    cpu = device.device_class == "cpu"
    for exact in (True, False):
        for row in classes:
            same_side = ("cpu" in row.device_classes) == cpu
            if precise(row) and (suits(row) if exact else same_side):
                return row, not exact
    return None


def _range(median: float, low: float, high: float) -> Range:
    return Range(low=median * low, median=median, high=median * high)


def _reason(row: SpeedClass, device: Device, *, borrowed: bool) -> str:
    share = (
        f"{row.decode_efficiency:.0%} of {device.name}'s bandwidth plus {row.token_overhead_s * 1000:.3g} ms per token"
    )
    where = f"{row.points} measurements of this class"
    if borrowed:
        where = (
            "rates assumed from its cores" if device.device_class == "cpu" else "borrowed from another class of device"
        )
    return f"{share}, {where} ({row.source})"
