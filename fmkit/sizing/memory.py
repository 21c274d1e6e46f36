"""The estimate: weights, cache, activations and runtime of one model in one engine, as lines that sum to the totals.

The lines of phase `steady` sum to `steady_bytes`, and all lines to `peak_bytes`: a prefill line is what prefill holds
beyond the steady state. What an engine holds beside the weights is its own business: `fmkit.sizing.engines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.machine import Machine
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.sizing.device_loads import DeviceLoad, all_lines, held_together, load_of
from fmkit.sizing.engines import llama_cpp_devices, transformers_devices, vllm_devices
from fmkit.sizing.engines.llama_cpp import LlamaCppModel
from fmkit.sizing.engines.plan import EngineModel, EngineRules, Placement, Plan
from fmkit.sizing.engines.transformers import TransformersModel
from fmkit.sizing.engines.vllm import VllmModel
from fmkit.sizing.estimate import DeviceNeed, HostNeed, MemoryEstimate, Workload
from fmkit.sizing.formats import why_no_kernel
from fmkit.sizing.limits import validity
from fmkit.sizing.main_memory import host_need, unjudged
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
    loads = [load_of(each, engine, machine) for each in placement.devices]
    whole = held_together(loads)
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
        lines=all_lines(loads),
        fits=fits,
        tight=None if budget is None else bool(fits) and highest - droppable > budget,
        budget_bytes=budget * max(used, machine.count) if budget is not None and machine is not None else None,
        warnings=(*warnings, *placement.warnings, *_said(refused), *unjudged(host), *said),
        devices=tuple([_need(load, budget) for load in loads]),
        host=host,
        refused=refused,
        budget_reason=_budget_reason(first, machine, budget),
        droppable_bytes=droppable,
        backend=placement.backend,
        flash_attention=placement.flash_attention,
    )


def _is_possible(refused: str | None, host: HostNeed | None) -> bool:
    """Whether the engine loads it so, and main memory holds what lies there."""
    return refused is None and (host is None or not host.short_bytes)


def _said(refused: str | None) -> tuple[str, ...]:
    return () if refused is None else (refused,)


def _need(load: DeviceLoad, budget: int | None) -> DeviceNeed:
    return DeviceNeed(
        holds=load.holds,
        count=load.count,
        weights_bytes=load.weights_bytes,
        cache_bytes=load.cache_bytes,
        peak_bytes=load.peak_bytes,
        budget_bytes=budget,
    )


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


def _filled_bytes(load: DeviceLoad, device_budget: int | None) -> int:
    """What an engine that fills its share of each device takes beyond need."""
    if load.plan.budget_fraction is None or device_budget is None:
        return 0
    return max(0, device_budget - load.peak_bytes)
