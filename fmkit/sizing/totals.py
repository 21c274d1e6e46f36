"""Totals of one model at many precisions and workloads: for a table of a whole catalog, or a plot.

What lies beside the weights depends on the precision only by the type in which the engine computes and caches, and by
what its products take. So the engine's rules are asked once for each such difference and workload, and the weights are
added. Equal to `fmkit.sizing.memory.estimate` to the byte (tests/sizing/test_totals.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fmkit.sizing.engines.plan import total
from fmkit.sizing.memory import PreparedModel
from fmkit.sizing.runtime import runtime_bytes, runtime_cost, scratch_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.engines.plan import Plan
    from fmkit.sizing.estimate import Workload
    from fmkit.sizing.memory import PreparedLayout


class Totals(NamedTuple):
    """Bytes of a whole model on one device: what the fields of the same name in a MemoryEstimate say."""

    weights_bytes: int
    cache_bytes: int
    steady_bytes: int
    peak_bytes: int


def totals(
    spec: ModelSpec,
    engine: EngineSpec,
    layouts: Sequence[Layout],
    workloads: Sequence[Workload],
    machine: Machine | None = None,
) -> Iterator[Totals]:
    """The totals of each layout in turn, at each workload in turn.

    For a whole model on one device: ValueError where the workload or the machine divides it, or where workloads differ in
    what weights depend on (options, images).
    """
    if any((each.options, each.images) != (workloads[0].options, workloads[0].images) for each in workloads):
        raise ValueError("options and images must be the same in all workloads")
    model = PreparedModel(spec, engine.id)
    beside: dict[tuple[object, ...], list[tuple[int, int, int]]] = {}
    for layout in layouts:
        prepared = model.at(layout)
        first = _plan(prepared, workloads[0], machine)
        found = beside.get(prepared.beside)
        if found is None:
            plans = [first, *(_plan(prepared, workload, machine) for workload in workloads[1:])]
            found = beside[prepared.beside] = [_beside_weights(plan, engine, machine) for plan in plans]
        weights = total(first.weights)
        for cache_bytes, steady_bytes, peak_bytes in found:
            yield Totals(weights, cache_bytes, weights + steady_bytes, weights + peak_bytes)


def _plan(prepared: PreparedLayout, workload: Workload, machine: Machine | None) -> Plan:
    (device,) = prepared.place(workload, machine).devices
    return device.plan


def _beside_weights(plan: Plan, engine: EngineSpec, machine: Machine | None) -> tuple[int, int, int]:
    """Cache, steady state and peak, without the weights."""
    cost = runtime_cost(engine, machine)
    cache_bytes = total(plan.cache)
    steady_bytes = cache_bytes + total(plan.decode) + runtime_bytes(cost, plan)
    return cache_bytes, steady_bytes, steady_bytes + total(plan.prefill) + scratch_bytes(cost, plan)
