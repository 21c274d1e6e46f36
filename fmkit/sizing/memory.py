"""The estimate: weights, cache, activations and runtime of one model in one engine, as lines that sum to the totals.

The lines of phase `steady` sum to `steady_bytes`, and all lines to `peak_bytes`: a prefill line is what prefill holds
beyond the steady state. What an engine holds beside the weights is its own business: `fmkit.sizing.engines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.machine import Machine
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.sizing.engines import llama_cpp_devices, transformers_devices, vllm_devices
from fmkit.sizing.engines.llama_cpp import LlamaCppModel
from fmkit.sizing.engines.plan import DevicePlan, EngineModel, EngineRules, Placement, Plan, total
from fmkit.sizing.engines.transformers import TransformersModel
from fmkit.sizing.engines.vllm import VllmModel
from fmkit.sizing.estimate import DeviceNeed, HostNeed, MemoryEstimate, MemoryLine, Workload
from fmkit.sizing.formats import why_no_kernel
from fmkit.sizing.limits import validity
from fmkit.sizing.main_memory import host_need, unjudged
from fmkit.sizing.runtime import runtime_cost, runtime_lines, scratch_lines, vendor_of
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.sizing.engine import EngineSpec

Rules = Callable[[ModelSpec, Layout, Workload, Machine | None], Placement]
"""Rules for something else than answering: training."""

RULES: dict[str, EngineRules] = {
    "transformers": EngineRules(TransformersModel, transformers_devices.place),
    "vllm": EngineRules(VllmModel, vllm_devices.place),
    "llama.cpp": EngineRules(LlamaCppModel, llama_cpp_devices.place),
}
"""The memory rules of each engine."""


class PreparedModel:
    """One model in one engine (`engine_id`), to be sized at many layouts."""

    def __init__(self, spec: ModelSpec, engine_id: str) -> None:
        self.spec = spec
        self._rules = RULES[engine_id]
        self._model = self._rules.model(spec)

    def at(self, layout: Layout) -> PreparedLayout:
        """The model at a layout, to be sized at many workloads and on many machines."""
        return PreparedLayout(self.spec, layout, self._rules, self._model)


class PreparedLayout:
    """One model in one engine at one layout: what no workload and no machine changes is worked out once."""

    def __init__(self, spec: ModelSpec, layout: Layout, rules: EngineRules, model: EngineModel) -> None:
        self.spec = spec
        self.layout = layout
        self._place = rules.place
        self._weights = model.at(layout)

    @property
    def beside(self) -> tuple[object, ...]:
        """What the bytes beside the weights depend on; equal for layouts that differ in their weights only."""
        return self._weights.beside

    def place(self, workload: Workload, machine: Machine | None = None) -> Placement:
        """What each device holds."""
        return self._place(self._weights, workload, machine)

    def estimate(
        self, engine: EngineSpec, precision: str, workload: Workload, machine: Machine | None = None
    ) -> MemoryEstimate:
        """Memory at that workload; `engine` is the one that the model was prepared for."""
        return _judged(self.spec, engine, self.layout, precision, workload, machine, self.place(workload, machine))


def estimate(
    spec: ModelSpec,
    engine: EngineSpec,
    layout: Layout,
    precision: str,
    workload: Workload,
    machine: Machine | None = None,
    rules: Rules | None = None,
) -> MemoryEstimate:
    """Memory of `spec` in `engine` at `layout` for `workload`; `fits` is judged where a machine is given.

    `rules` stand for the engine's own where it does something else than answer (training). All bytes are for the whole
    model; `per_device_bytes` is the most loaded of the devices that the engine uses. A `PreparedModel` answers many such
    questions about one model in less time.
    """
    if rules is None:
        return PreparedModel(spec, engine.id).at(layout).estimate(engine, precision, workload, machine)
    return _judged(spec, engine, layout, precision, workload, machine, rules(spec, layout, workload, machine))


def _judged(
    spec: ModelSpec,
    engine: EngineSpec,
    layout: Layout,
    precision: str,
    workload: Workload,
    machine: Machine | None,
    placement: Placement,
) -> MemoryEstimate:
    """The lines of a placement added up, and held against the machine."""
    used = sum([each.count for each in placement.devices])
    _check_devices(used, machine)
    loads = [_load(each, engine, machine) for each in placement.devices]
    whole = _added(loads)
    first = loads[0].plan
    budget = _device_budget(first, machine)
    per_device = max([load.peak_bytes for load in loads])
    droppable = first.droppable_bytes
    host = host_need(placement, machine)
    valid, warnings = validity(spec, workload, first.encoder_tokens)
    highest = max([load.high_bytes for load in loads])
    device = machine.device if machine is not None else None
    refused = engine.why_not_on(device) or why_no_kernel(layout, device) or placement.refused
    fits = None if budget is None else per_device - droppable <= budget and _is_possible(refused, host)
    said = dict.fromkeys([text for load in loads for text in load.plan.warnings])
    return MemoryEstimate(
        engine=engine.id,
        engine_version=engine.version,
        precision=precision,
        layout=layout.id,
        cache_dtype=first.cache_dtype,
        context_tokens=workload.context_tokens,
        encoder_tokens=first.encoder_tokens,
        sequences=workload.sequences,
        tensor_parallel=placement.tensor_parallel,
        pipeline_parallel=placement.pipeline_parallel,
        expert_parallel=placement.expert_parallel,
        valid=valid,
        weights_bytes=whole.weights_bytes,
        cache_bytes=whole.cache_bytes,
        steady_bytes=whole.steady_bytes,
        peak_bytes=whole.peak_bytes,
        low_bytes=whole.low_bytes,
        high_bytes=whole.high_bytes,
        reserved_bytes=sum([_filled_bytes(load, budget) * load.count for load in loads]),
        per_device_bytes=per_device,
        lines=_all_lines(loads),
        fits=fits,
        tight=None if budget is None else bool(fits) and highest - droppable > budget,
        budget_bytes=budget * max(used, machine.count) if budget is not None and machine is not None else None,
        warnings=(*warnings, *placement.warnings, *_said(refused), *unjudged(host), *said),
        devices=tuple([_need(load, budget) for load in loads]),
        host=host,
        refused=refused,
        budget_reason=_budget_reason(first, machine, budget),
        droppable_bytes=droppable,
    )


def _is_possible(refused: str | None, host: HostNeed | None) -> bool:
    """Whether the engine loads it so, and main memory holds what lies there."""
    return refused is None and (host is None or not host.short_bytes)


def _said(refused: str | None) -> tuple[str, ...]:
    return () if refused is None else (refused,)


class _Bytes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is held, and the bounds of its peak."""

    weights_bytes: int
    cache_bytes: int
    steady_bytes: int
    peak_bytes: int
    low_bytes: int
    high_bytes: int


class _Load(_Bytes, frozen=True, kw_only=True, gc=False):
    """A device's plan with its runtime."""

    plan: Plan
    count: int
    holds: str
    lines: tuple[MemoryLine, ...]


def _added(loads: list[_Load]) -> _Bytes:
    """What all devices hold together."""
    if len(loads) == 1 and loads[0].count == 1:
        return loads[0]
    return _Bytes(
        weights_bytes=sum(load.weights_bytes * load.count for load in loads),
        cache_bytes=sum(load.cache_bytes * load.count for load in loads),
        steady_bytes=sum(load.steady_bytes * load.count for load in loads),
        peak_bytes=sum(load.peak_bytes * load.count for load in loads),
        low_bytes=sum(load.low_bytes * load.count for load in loads),
        high_bytes=sum(load.high_bytes * load.count for load in loads),
    )


def _load(device: DevicePlan, engine: EngineSpec, machine: Machine | None) -> _Load:
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
    return _Load(
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


def _need(load: _Load, budget: int | None) -> DeviceNeed:
    return DeviceNeed(
        holds=load.holds,
        count=load.count,
        weights_bytes=load.weights_bytes,
        cache_bytes=load.cache_bytes,
        peak_bytes=load.peak_bytes,
        budget_bytes=budget,
    )


def _all_lines(loads: list[_Load]) -> tuple[MemoryLine, ...]:
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


def _check_devices(used: int, machine: Machine | None) -> None:
    """A device named without a count stands for as many as are used; any other machine must have them."""
    if machine is None or used <= machine.count or (machine.origin == "catalog" and machine.count == 1):
        return
    raise UsageError(
        f"that takes {used} devices; {machine.name} is {machine.count}",
        where="--tensor-parallel, --pipeline-parallel, --expert-parallel",
        next_command=f"fmkit vram MODEL --gpu {machine.device.id}:{used}" if machine.device is not None else None,
    )


def _device_budget(plan: Plan, machine: Machine | None) -> int | None:
    """Bytes that the engine may use of one device: all that is usable, or its share of it.

    The total that an engine takes its share of is what the driver reports, not the nominal size: vLLM's log says
    22.07 GiB x 0.90 = 19.86 GiB on an A10G of 24 GiB (`tests/fixtures/logs/vllm-0.7-llama-3.1-8b.log`).
    """
    if machine is None:
        return None
    return int(machine.usable_bytes * (plan.budget_fraction or 1))


def _budget_reason(plan: Plan, machine: Machine | None, device_budget: int | None) -> str:
    """The engine's setting, where that and not the device is the limit."""
    if machine is None or plan.budget_fraction is None or device_budget == machine.usable_bytes:
        return ""
    return f"{plan.budget_option} {plan.budget_fraction:g} of {format_bytes(machine.usable_bytes)}"


def _filled_bytes(load: _Load, device_budget: int | None) -> int:
    """What an engine that fills its share of each device takes beyond need."""
    if load.plan.budget_fraction is None or device_budget is None:
        return 0
    return max(0, device_budget - load.peak_bytes)


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
