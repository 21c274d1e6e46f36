"""Totals of one model at many precisions and workloads, without the words: for a table of a whole catalog, or a plot.

What lies beside the weights depends on the precision only by the type in which the engine computes and caches, and by
what its products take. So the engine's own rules are asked once for each such pair and workload, and the weights are
added. Equal to `fmkit.sizing.memory.estimate` to the byte (tests/sizing/test_totals.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fmkit.sizing.engines.plan import cache_dtype, total
from fmkit.sizing.engines.transformers import IN_INT8, UNPACKED
from fmkit.sizing.memory import RULES, runtime_cost

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engine import EngineSpec
    from fmkit.sizing.engines.plan import Plan
    from fmkit.sizing.estimate import Workload


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

    For a whole model on one device: ValueError where the workload or the machine divides it.
    """
    beside: dict[tuple[str, str | None], list[tuple[int, int, int]]] = {}
    for layout in layouts:
        key = cache_dtype(spec, layout), layout.id if layout.id in (*UNPACKED, *IN_INT8) else None
        if key not in beside:
            plans = (_plan(spec, engine, layout, workload, machine) for workload in workloads)
            beside[key] = [_beside_weights(plan, engine, machine) for plan in plans]
        weights = total(_plan(spec, engine, layout, workloads[0], machine).weights)
        for cache_bytes, steady_bytes, peak_bytes in beside[key]:
            yield Totals(weights, cache_bytes, weights + steady_bytes, weights + peak_bytes)


def _plan(spec: ModelSpec, engine: EngineSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Plan:
    (device,) = RULES[engine.id](spec, layout, workload, machine).devices
    return device.plan


def _beside_weights(plan: Plan, engine: EngineSpec, machine: Machine | None) -> tuple[int, int, int]:
    """Cache, steady state and peak, without the weights."""
    cost = runtime_cost(engine, machine)
    runtime = total(plan.runtime) if plan.runtime is not None else cost.bytes if cost is not None else 0
    cache_bytes = total(plan.cache)
    steady_bytes = cache_bytes + total(plan.decode) + runtime
    return cache_bytes, steady_bytes, steady_bytes + total(plan.prefill)
