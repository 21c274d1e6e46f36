"""How a model may be divided over devices: what was asked, checked, and the degrees that are possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.api.asked import whole
from fmkit.errors import UsageError
from fmkit.machine import MOST_DEVICES
from fmkit.results.vram import DegreeSummary
from fmkit.sizing.engines.plan import is_one_memory
from fmkit.sizing.engines.vllm_devices import divides_layers
from fmkit.sizing.parallel import degrees, is_divisible
from fmkit.sizing.stages import split_stack
from fmkit.sizing.transformers_tp import tensor_degrees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.estimate import Offload, Workload
    from fmkit.sizing.parallel import Degree

TRIED_COUNTS = (1, 2, 4, 8)
"""Numbers of devices that a model is tried on, up to all of the machine's."""
SHOWN_DEGREES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
OFFLOADS: tuple[Offload, ...] = ("cpu", "disk")


def degree(count: int, way: str, engines: Mapping[str, EngineSpec], engine: str) -> int:
    """A number of devices, for an engine that divides a model in that way (tensor, pipeline, expert)."""
    option = f"--{way}-parallel"
    if whole(count, option, at_most=MOST_DEVICES) > 1 and way not in engines[engine].divides:
        able = ", ".join(name for name, facts in engines.items() if way in facts.divides)
        raise UsageError(f"{engine} is not sized in {way} parallel by this version; sized for {able}", where=option)
    return count


def offload_target(asked: str | bool | None) -> Offload | None:
    """Where weights may go that the device has no room for: True is main memory, and disk beyond it."""
    if asked is None or asked is False:
        return None
    wanted = "cpu" if asked is True else asked
    for known in OFFLOADS:
        if known == wanted:
            return known
    raise UsageError.unknown("place to off-load to", str(asked), OFFLOADS, where="--offload")


def possible_degrees(
    spec: ModelSpec, engine: str, workload: Workload, machine: Machine | None
) -> tuple[DegreeSummary, ...]:
    """The degrees of tensor parallel with the reasons against the others, where several devices are in question."""
    several = max(workload.tensor_parallel, workload.pipeline_parallel, workload.expert_parallel) > 1
    if not several and (machine is None or machine.count == 1):
        return ()
    found: list[Degree] = []
    if engine == "vllm":
        found = degrees(spec, max(SHOWN_DEGREES))
    elif engine == "transformers":
        found = tensor_degrees(spec, max(SHOWN_DEGREES))
    return tuple(
        DegreeSummary(tensor_parallel=each.devices, possible=each.reason is None, reason=each.reason)
        for each in found
        if each.devices in SHOWN_DEGREES
    )


class Division(NamedTuple):
    """Some of a machine's devices, as a machine of their own, and how an engine divides a model over them."""

    machine: Machine
    tensor_parallel: int = 1
    pipeline_parallel: int = 1


def divisions(machine: Machine, engine: str, spec: ModelSpec) -> tuple[Division, ...]:
    """The ways to run `spec` on a part or all of the machine's devices that recommend tries, the fewest devices first.

    vLLM is told the degrees: tensor parallel as far as the model divides, pipeline stages for the rest. llama.cpp (by layers)
    and transformers (by its device map) divide a model over all devices they see.
    """
    if machine.count == 1 or is_one_memory(machine):
        return (Division(machine),)
    counts = [*(count for count in TRIED_COUNTS if count < machine.count), machine.count]
    parts = [msgspec.structs.replace(machine, count=count) for count in counts]
    if engine != "vllm":
        return tuple(map(Division, parts))
    tried = [(part, _vllm_degrees(part.count, spec)) for part in parts]
    return tuple(Division(part, *found) for part, found in tried if found is not None)


def _vllm_degrees(devices: int, spec: ModelSpec) -> tuple[int, int] | None:
    """Tensor-parallel ranks and pipeline stages of so many devices, as few stages as possible; None where there is no way."""
    layers = split_stack(spec).layers if divides_layers(spec) else 1
    for stages in range(1, min(devices, layers) + 1):
        if not devices % stages and is_divisible(spec, devices // stages):
            return devices // stages, stages
    return None
