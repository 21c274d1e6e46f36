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
from fmkit.sizing.engines import llama_cpp, transformers, vllm
from fmkit.sizing.engines.plan import Plan, total
from fmkit.sizing.estimate import MemoryEstimate, MemoryLine, Workload
from fmkit.sizing.parallel import rank_spec
from fmkit.units import ceil_div, format_bytes, format_tokens

if TYPE_CHECKING:
    from fmkit.sizing.engine import EngineSpec, RuntimeCost

RULES: dict[str, Callable[[ModelSpec, Layout, Workload, Machine | None], Plan]] = {
    "transformers": transformers.plan,
    "vllm": vllm.plan,
    "llama.cpp": llama_cpp.plan,
}
"""The memory rules of each engine: what it holds for a model, as lines."""


def estimate(
    spec: ModelSpec,
    engine: EngineSpec,
    layout: Layout,
    precision: str,
    workload: Workload,
    machine: Machine | None = None,
) -> MemoryEstimate:
    """Memory of `spec` in `engine` at `layout` for `workload`; `fits` is judged where a machine is given.

    All bytes are for the whole model; `per_device_bytes` is the most loaded of the machine's devices.
    """
    ranks = workload.tensor_parallel
    _check_ranks(ranks, machine)
    plan = RULES[engine.id](rank_spec(spec, ranks), layout, workload, machine)
    steady = [*plan.weights, *plan.cache, *plan.decode, *_runtime_lines(engine, plan, machine, ranks)]
    lines = (*steady, *plan.prefill)
    low_bytes, high_bytes = _bounds(engine, lines, machine)
    devices = machine.count if machine is not None and ranks == 1 else 1
    per_device = _per_device_bytes(spec, lines, devices)
    device_budget = _device_budget(plan, machine)
    valid, warnings = _validity(spec, workload, plan.encoder_tokens)
    return MemoryEstimate(
        engine=engine.id,
        engine_version=engine.version,
        precision=precision,
        layout=layout.id,
        cache_dtype=plan.cache_dtype,
        context_tokens=workload.context_tokens,
        encoder_tokens=plan.encoder_tokens,
        sequences=workload.sequences,
        tensor_parallel=ranks,
        pipeline_parallel=devices,
        valid=valid,
        weights_bytes=total(plan.weights) * ranks,
        cache_bytes=total(plan.cache) * ranks,
        steady_bytes=total(steady) * ranks,
        peak_bytes=total(lines) * ranks,
        low_bytes=low_bytes * ranks,
        high_bytes=high_bytes * ranks,
        reserved_bytes=plan.reserved_bytes or _filled_bytes(plan, device_budget, per_device, devices * ranks),
        per_device_bytes=per_device,
        lines=_of_all_ranks(lines, ranks),
        fits=per_device <= device_budget if device_budget is not None else None,
        budget_bytes=device_budget * devices * ranks if device_budget is not None else None,
        warnings=(*warnings, *plan.warnings),
    )


def _of_all_ranks(lines: tuple[MemoryLine, ...], ranks: int) -> tuple[MemoryLine, ...]:
    """The lines of one rank, for the whole model: every rank holds as much as the most loaded one."""
    if ranks == 1:
        return lines
    return tuple(
        msgspec.structs.replace(line, bytes=line.bytes * ranks, formula=f"{ranks} ranks x ({line.formula})")
        for line in lines
    )


def _check_ranks(ranks: int, machine: Machine | None) -> None:
    """A device named without a count stands for as many as there are ranks; any other machine must have them."""
    if machine is None or ranks <= machine.count or (machine.origin == "catalog" and machine.count == 1):
        return
    raise UsageError(
        f"{ranks} ranks need {ranks} devices; {machine.name} is {machine.count}", where="--tensor-parallel"
    )


def _device_budget(plan: Plan, machine: Machine | None) -> int | None:
    """Bytes that the engine may use of one device: all that is usable, or its share of the total, if that is less."""
    if machine is None:
        return None
    if plan.budget_fraction is None:
        return machine.usable_bytes
    return min(int(machine.memory_bytes * plan.budget_fraction), machine.usable_bytes)


def _filled_bytes(plan: Plan, device_budget: int | None, per_device: int, devices: int) -> int:
    """What an engine that fills its share of each device takes beyond need."""
    if plan.budget_fraction is None or device_budget is None:
        return 0
    return max(0, device_budget - per_device) * devices


def _runtime_lines(engine: EngineSpec, plan: Plan, machine: Machine | None, ranks: int) -> tuple[MemoryLine, ...]:
    if plan.runtime is not None:
        return plan.runtime
    cost = runtime_cost(engine, machine)
    if cost is None or cost.bytes == 0:
        return ()
    devices = machine.count if machine is not None and ranks == 1 else 1
    return (
        MemoryLine(
            part="runtime",
            bytes=cost.bytes * devices,
            phase="steady",
            basis="measured" if cost.basis == "measured" else "assumed",
            reason=cost.reason,
            source=cost.source,
            formula=f"{devices} x {format_bytes(cost.bytes)}, between {format_bytes(cost.low_bytes)} and {format_bytes(cost.high_bytes)}",
        ),
    )


def runtime_cost(engine: EngineSpec, machine: Machine | None) -> RuntimeCost | None:
    """What the engine's runtime takes on the machine's kind of device; the CPU's where the machine has no accelerator."""
    vendor = _vendor(machine)
    return next((cost for cost in engine.runtime if cost.vendor == vendor), None)


def _vendor(machine: Machine | None) -> str:
    """The vendor whose runtime counts; a bare size of memory is taken for an NVIDIA card."""
    if machine is None or machine.origin == "memory":
        return "nvidia"
    return machine.device.vendor if machine.device is not None else "cpu"


def _bounds(engine: EngineSpec, lines: tuple[MemoryLine, ...], machine: Machine | None) -> tuple[int, int]:
    """Low and high of the peak: each line scaled by the measured error of its part, the whole by that of the peak.

    The runtime's own range counts where its part has no error of its own.
    """
    cost = runtime_cost(engine, machine)
    ranges = {"runtime": (cost.low_bytes / cost.bytes, cost.high_bytes / cost.bytes)} if cost and cost.bytes else {}
    vendor = _vendor(machine)
    ranges |= {bound.part: (bound.low, bound.high) for bound in engine.bounds if bound.vendor in (None, vendor)}
    low = high = 0.0
    for line in lines:
        low_factor, high_factor = ranges.get(line.part.partition(":")[0], (1.0, 1.0))
        low += line.bytes * low_factor
        high += line.bytes * high_factor
    peak = total(lines)
    peak_low, peak_high = ranges.get("peak", (1.0, 1.0))
    return min(int(low * peak_low), peak), max(int(high) + 1, int(peak * peak_high), peak)


def _per_device_bytes(spec: ModelSpec, lines: tuple[MemoryLine, ...], devices: int) -> int:
    """The most loaded device when accelerate spreads whole layers over `devices`.

    Weights and cache are divided, rounded up by one block; activations and runtime are needed on each.
    """
    whole = total(lines)
    if devices == 1:
        return whole
    divided = sum(line.bytes for line in lines if line.part.startswith(("weights", "cache")))
    runtime = sum(line.bytes for line in lines if line.part == "runtime")
    layers = max(1, sum(stack.layers for stack in spec.stacks))
    one_block = ceil_div(divided, layers)
    return ceil_div(divided, devices) + one_block + (whole - divided - runtime) + ceil_div(runtime, devices)


def _validity(spec: ModelSpec, workload: Workload, encoder_tokens: int) -> tuple[bool, tuple[str, ...]]:
    warnings = []
    valid = True
    limit = spec.max_context_tokens
    if limit is not None and workload.context_tokens > limit:
        asked, most = format_tokens(workload.context_tokens), format_tokens(limit)
        if spec.context_is_hard:
            valid = False
            warnings.append(
                f"{asked} tokens are impossible: the model's limit is {most}; the bytes are arithmetic only"
            )
        else:
            warnings.append(f"{asked} tokens are beyond the {most} the model was made for; expect nonsense")
    encoder_limit = spec.encoder_max_tokens
    if encoder_limit is not None and encoder_tokens > encoder_limit:
        valid = False
        warnings.append(
            f"{format_tokens(encoder_tokens)} encoder tokens: the encoder's limit is {format_tokens(encoder_limit)}"
        )
    if workload.images and spec.image_tokens is None:
        warnings.append("the model takes no images, or how many tokens one takes is unknown: images are not counted")
    elif workload.images and spec.image_tokens and workload.images * spec.image_tokens > workload.context_tokens:
        need = workload.images * spec.image_tokens
        warnings.append(
            f"{workload.images} images take {need:,} tokens, more than the context of {workload.context_tokens:,}"
        )
    return valid, tuple(warnings)
