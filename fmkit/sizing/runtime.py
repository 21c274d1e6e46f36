"""What an engine's runtime takes beside the model: its libraries and driver context, and scratch that no allocator counts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from fmkit.sizing.engines.plan import total
from fmkit.sizing.estimate import MemoryLine
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.sizing.engine import EngineSpec, RuntimeCost
    from fmkit.sizing.engines.plan import Plan


def vendor_of(machine: Machine | None) -> str:
    """The vendor whose runtime counts; a bare size of memory is taken for an NVIDIA card."""
    if machine is None or machine.origin == "memory":
        return "nvidia"
    return machine.device.vendor if machine.device is not None else "cpu"


def runtime_cost(engine: EngineSpec, machine: Machine | None) -> RuntimeCost | None:
    """What the engine's runtime takes on the machine's kind of device; the CPU's where the machine has no accelerator."""
    return engine.runtime_on(vendor_of(machine))


def runtime_bytes(cost: RuntimeCost | None, plan: Plan) -> int:
    """Bytes of the runtime as long as it is loaded: the plan's own where it has them, else what the catalog states."""
    if plan.runtime is not None:
        return total(plan.runtime)
    return 0 if cost is None else cost.bytes


def runtime_lines(cost: RuntimeCost | None, plan: Plan) -> tuple[MemoryLine, ...]:
    """The lines of `runtime_bytes`."""
    if plan.runtime is not None:
        return plan.runtime
    return () if cost is None or cost.bytes == 0 else (_stated(cost),)


@lru_cache(maxsize=32)
def _stated(cost: RuntimeCost) -> MemoryLine:
    """The line of a stated cost: one for each engine and kind of device."""
    return MemoryLine(
        part="runtime",
        bytes=cost.bytes,
        phase="steady",
        basis=cost.basis,
        reason=cost.reason,
        source=cost.source,
        formula=f"{format_bytes(cost.bytes)}, between {format_bytes(cost.low_bytes)} and {format_bytes(cost.high_bytes)}",
    )


def scratch_bytes(cost: RuntimeCost | None, plan: Plan) -> int:
    """What the runtime takes at the peak for each byte of cache and activations: 0 where no such share is stated."""
    if cost is None or not cost.beside_share or plan.runtime is not None:
        return 0
    return round(cost.beside_share * _beside_weights(plan))


def scratch_lines(cost: RuntimeCost | None, plan: Plan) -> tuple[MemoryLine, ...]:
    """The line of `scratch_bytes`."""
    size = scratch_bytes(cost, plan)
    if cost is None or not size:
        return ()
    return (
        MemoryLine(
            part="runtime: scratch",
            bytes=size,
            phase="prefill",
            basis=cost.basis,
            reason="memory of single operations and of the heap, which no allocator counts; it grows with what is computed",
            source=cost.source,
            formula=f"{cost.beside_share:g} x {_beside_weights(plan):,} B of cache and activations = {size:,} B",
        ),
    )


def _beside_weights(plan: Plan) -> int:
    """Cache and activations at the peak, without what no allocator counts."""
    lines = (*plan.cache, *plan.decode, *plan.prefill)
    return sum(line.bytes for line in lines if line.kind in ("cache", "activations"))
