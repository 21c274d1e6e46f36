"""What each device holds with the engine's runtime, and what all hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.machine import Machine
from fmkit.sizing.engines.plan import DevicePlan, Plan, total
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.runtime import runtime_cost, runtime_lines, scratch_lines, vendor_of

if TYPE_CHECKING:
    from fmkit.sizing.engine import EngineSpec


class HeldBytes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is held, and the bounds of its peak."""

    weights_bytes: int
    cache_bytes: int
    steady_bytes: int
    peak_bytes: int
    low_bytes: int
    high_bytes: int


class DeviceLoad(HeldBytes, frozen=True, kw_only=True, gc=False):
    """A device's plan with its runtime."""

    plan: Plan
    count: int
    holds: str
    lines: tuple[MemoryLine, ...]


def held_together(loads: list[DeviceLoad]) -> HeldBytes:
    """What all devices hold together."""
    if len(loads) == 1 and loads[0].count == 1:
        return loads[0]
    return HeldBytes(
        weights_bytes=sum(load.weights_bytes * load.count for load in loads),
        cache_bytes=sum(load.cache_bytes * load.count for load in loads),
        steady_bytes=sum(load.steady_bytes * load.count for load in loads),
        peak_bytes=sum(load.peak_bytes * load.count for load in loads),
        low_bytes=sum(load.low_bytes * load.count for load in loads),
        high_bytes=sum(load.high_bytes * load.count for load in loads),
    )


def load_of(device: DevicePlan, engine: EngineSpec, machine: Machine | None) -> DeviceLoad:
    """The plan of a device with the engine's runtime there, added up."""
    plan = device.plan
    cost = runtime_cost(engine, machine)
    beside = (*plan.decode, *runtime_lines(cost, plan))
    at_peak = (*plan.prefill, *scratch_lines(cost, plan))
    drafts = (*plan.cache, *beside, *at_peak)
    lines = (*plan.weights, *[line.written() for line in drafts])
    weights_bytes, cache_bytes = total(plan.weights), total(plan.cache)
    steady_bytes = weights_bytes + cache_bytes + total(beside)
    peak_bytes = steady_bytes + total(at_peak)
    low_bytes, high_bytes = _bounds(engine, lines, peak_bytes, vendor_of(machine))
    return DeviceLoad(
        plan=plan,
        count=device.count,
        holds=device.holds,
        lines=lines,
        weights_bytes=weights_bytes,
        cache_bytes=cache_bytes,
        steady_bytes=steady_bytes,
        peak_bytes=peak_bytes,
        low_bytes=low_bytes,
        high_bytes=high_bytes,
    )


def all_lines(loads: list[DeviceLoad]) -> tuple[MemoryLine, ...]:
    """The lines of all devices, those of one part and phase summed."""
    if len(loads) == 1 and loads[0].count == 1:
        return loads[0].lines
    by_part: dict[tuple[str, str], list[tuple[int, MemoryLine]]] = {}
    for load in loads:
        for line in load.lines:
            by_part.setdefault((line.part, line.phase), []).append((load.count, line))
    ordered = sorted(
        by_part.items(), key=lambda item: (item[0][1] == "prefill", _ORDER.get(item[0][0].partition(":")[0], 9))
    )
    return tuple(_sum_of(members) for _, members in ordered)


_ORDER = {"weights": 0, "cache": 1, "activations": 2, "runtime": 3}


def _sum_of(members: list[tuple[int, MemoryLine]]) -> MemoryLine:
    """One line for the same part on several devices."""
    count, line = max(members, key=lambda member: member[1].bytes)
    size = sum(each * one.bytes for each, one in members)
    if len(members) == 1:
        formula = f"{count} devices x ({line.formula})" if count > 1 else line.formula
    else:
        terms = " + ".join(f"{each} x {one.bytes:,} B" if each > 1 else f"{one.bytes:,} B" for each, one in members)
        formula = f"{terms} = {size:,} B; the largest: {line.formula}"
    return msgspec.structs.replace(line, bytes=size, formula=formula)


def _bounds(engine: EngineSpec, lines: tuple[MemoryLine, ...], peak: int, vendor: str) -> tuple[int, int]:
    """Low and high of the peak: each line scaled by the measured error of its part, the whole by that of the peak."""
    ranges = engine.part_ranges(vendor)
    low = high = 0.0
    for line in lines:
        size = line.bytes
        least, most = ranges[line.part]
        low += size * least
        high += size * most
    least, most = ranges["peak"]
    return min(int(low * least), peak), max(int(high) + 1, int(peak * most), peak)
