"""What predicting a speed costs: processor time for every model of the catalog on one device."""

from __future__ import annotations

import time
from statistics import median

import msgspec

from fmkit.catalog.load import Catalog
from fmkit.errors import FmkitError
from fmkit.machine import catalog_machine
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.roofline import estimate

DEVICE, ENGINE = "h100-sxm5-80gb", "vllm"
REPEATS = 3


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Processor time at one precision: of all models together, of the median and of the slowest one, the best of `REPEATS` each."""

    device: str
    precision: str
    models: int
    all_ms: float
    median_ms: float
    most_ms: float


def costs(catalog: Catalog) -> list[Cost]:
    """The cost at 16 and 4 bit."""
    return [_cost(catalog, precision) for precision in ("fp16", "int4")]


def _cost(catalog: Catalog, precision: str) -> Cost:
    machine = catalog_machine(catalog.devices[DEVICE], 1)
    layout = catalog.layouts[catalog.engines[ENGINE].layouts[precision]]
    todo = list(_sized(catalog, precision, layout))
    best = [float("inf")] * len(todo)
    for _ in range(REPEATS):
        for place, (spec, memory) in enumerate(todo):
            started = time.process_time()
            estimate(spec, memory, layout, machine, catalog.speed)
            best[place] = min(best[place], time.process_time() - started)
    return Cost(
        device=DEVICE,
        precision=precision,
        models=len(todo),
        all_ms=round(1000 * sum(best), 1),
        median_ms=round(1000 * median(best), 3),
        most_ms=round(1000 * max(best), 3),
    )


def _sized(catalog: Catalog, precision: str, layout: Layout) -> list[tuple[ModelSpec, MemoryEstimate]]:
    """Every model that the engine holds, with its memory, which is not part of the cost."""
    engine, machine = catalog.engines[ENGINE], catalog_machine(catalog.devices[DEVICE], 1)
    found = []
    for model in catalog.model_ids():
        spec = catalog.model(model).spec
        if spec is None:
            continue
        try:
            memory = estimate_memory(
                spec, engine, layout, precision, Workload(context_tokens=4096, sequences=4), machine
            )
        except FmkitError:  # the engine does not run it
            continue
        found.append((spec, memory))
    return found
