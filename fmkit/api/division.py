"""How a model may be divided over devices: what was asked, checked, and the degrees that are possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.asked import whole
from fmkit.errors import UsageError
from fmkit.results.vram import DegreeSummary
from fmkit.sizing.parallel import degrees
from fmkit.sizing.transformers_tp import tensor_degrees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.estimate import Offload, Workload
    from fmkit.sizing.parallel import Degree

MOST_DEVICES = 1024
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
