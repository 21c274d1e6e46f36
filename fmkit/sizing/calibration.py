"""What a process holds beside its tensors, as trials on this machine measured it: an engine's runtime with this machine's figures.

Weights, cache and activations are exact or have bounds of their own, and are left alone. What the process holds beside them is
`runtime`: the libraries, and scratch that grows with what is computed. The catalog states a line through the workloads of one machine
(tests/sizing/test_process_peak.py); where it states an idle process's 348 MiB instead, the process's peak is 9.8 % off in the median, and 2.7 %
with a line through trials of any five other models (tests/sizing/test_calibration.py).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fmkit.sizing.engine import ErrorBound
from fmkit.sizing.shrinkage import Point, Prior, line, narrowed
from fmkit.sizing.trial_words import counted, named
from fmkit.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.sizing.engine import EngineSpec, RuntimeCost

Engine = TypeVar("Engine", bound="EngineSpec")

SCRATCH_DEVIATION = 0.2
"""How far the scratch per byte of cache and activations may be from what is stated; one line through 108 workloads of another machine has 0.2."""

WORKLOAD_DEVIATION_BYTES = 38 * MIB
"""Standard deviation of one workload from the line: half of the 108 lay within 28 MiB of it, 0.74 deviations of a Student-t."""


class MemoryTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial says of the runtime, in bytes.

    `allocated_bytes` are all tensors, with what the estimate knows of copies that no allocator counts; `beside_bytes` those of them that are
    not weights; `runtime_bytes` what the process held beside all of them. `weight` is how far it counts.
    """

    id: str
    model: str
    allocated_bytes: int
    beside_bytes: int
    runtime_bytes: int
    weight: float = 1.0


def calibrated(engine: Engine, vendor: str, trials: Sequence[MemoryTrial], *, when: str, left_out: str = "") -> Engine:
    """The engine with the runtime and the bound of the peak that the trials on this machine's kind of device gave; as it is without any.

    Workloads of one model count together as one trial: they say little of other models. `when` is the date of the newest, `left_out` says
    which trials did not count.
    """
    cost = next((cost for cost in engine.runtime if cost.vendor == vendor), None)
    if cost is None or not cost.bytes or not trials:
        return engine
    found = _fitted(cost, trials)
    models = len({trial.model for trial in trials})
    runtime = [trial.runtime_bytes / _runtime_at(found, trial) for trial in trials]
    peaks = [
        (trial.allocated_bytes + trial.runtime_bytes) / (trial.allocated_bytes + _runtime_at(found, trial))
        for trial in trials
    ]
    low, high = narrowed(cost.low_bytes / cost.bytes, cost.high_bytes / cost.bytes, runtime, models)
    count = counted(len(trials), models)
    names = named([trial.id for trial in trials])
    stated = f"the catalog's {format_bytes(cost.bytes)} counts beside them"
    found = msgspec.structs.replace(
        found,
        low_bytes=int(found.bytes * low),
        high_bytes=int(found.bytes * high) + 1,
        basis="measured",
        reason=f"measured here: {count}; {cost.reason}",
        source=f"trials {names} on this machine, the newest of {when}; {stated}{f'; {left_out}' if left_out else ''}",
    )
    bound = engine.bounds_of("peak", vendor) or (1.0, 1.0)
    low, high = narrowed(*bound, peaks, models)
    peak = ErrorBound(part="peak", vendor=vendor, low=low, high=high, measured_on=f"{count} on this machine")
    return msgspec.structs.replace(
        engine,
        runtime=tuple(found if one.vendor == vendor else one for one in engine.runtime),
        bounds=(*(one for one in engine.bounds if (one.part, one.vendor) != ("peak", vendor)), peak),
    )


def _fitted(cost: RuntimeCost, trials: Sequence[MemoryTrial]) -> RuntimeCost:
    """The cost with a line through the trials: fixed bytes, and a share of cache and activations."""
    workloads = Counter(trial.model for trial in trials)
    points = [Point(trial.beside_bytes, trial.runtime_bytes, trial.weight / workloads[trial.model]) for trial in trials]
    offset = Prior(cost.bytes, max(MIB, (cost.high_bytes - cost.low_bytes) / 4))
    level, slope = line(points, offset, Prior(cost.beside_share, SCRATCH_DEVIATION), WORKLOAD_DEVIATION_BYTES)
    return msgspec.structs.replace(cost, bytes=max(MIB, round(level)), beside_share=max(0.0, round(slope, 4)))


def _runtime_at(cost: RuntimeCost, trial: MemoryTrial) -> float:
    return cost.bytes + cost.beside_share * trial.beside_bytes
