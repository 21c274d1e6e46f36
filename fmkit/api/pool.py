"""The catalog's models as `fmkit.selection` chooses from them: what a question may name, and each model sized on the machine."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, partial
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.division import divisions
from fmkit.api.sizing import PreparedLayouts, estimate_for, kept_as, stores_quantised
from fmkit.api.vram_precisions import points_lost_by
from fmkit.errors import ArchitectureUnknownError
from fmkit.selection.asking import Known
from fmkit.selection.pool import Pool
from fmkit.selection.sized import Sized, Sizer, fits
from fmkit.sizing.estimate import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fmkit.api.division import Division
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.selection.facts import Task
    from fmkit.selection.request import Request

PreparedModels = defaultdict[str, PreparedLayouts]
"""Models made ready for sizing, by name."""


def known(catalog: Catalog) -> Known:
    """The names that a question may use."""
    precisions = {alias.lower(): key for key, found in catalog.precisions.items() for alias in (key, *found.aliases)}
    return Known(
        licences=catalog.licences,
        families=families(catalog),
        precisions=precisions,
        engines={name: tuple(engine.layouts) for name, engine in catalog.engines.items()},
        languages=tuple(sorted({code.partition("-")[0] for c in catalog.candidates() for code in c.languages})),
    )


def families(catalog: Catalog) -> tuple[str, ...]:
    """The families of the catalog, by name."""
    return tuple(sorted({candidate.family for candidate in catalog.candidates()}))


def pool_for(
    task: Task, request: Request, machine: Machine, catalog: Catalog, prepared: PreparedModels | None = None
) -> Pool:
    """What models are chosen from. `prepared` keeps what sizing them worked out, for the next question on the same machine."""
    return Pool(
        task=task,
        candidates=catalog.candidates(),
        licences=catalog.licences,
        cloud_prices=catalog.cloud_prices,
        precision_bits={key: precision.bits for key, precision in catalog.precisions.items()},
        machine=machine,
        size=sizer_for(task, request, machine, catalog, prepared=prepared),
        capability=catalog.capability,
        abilities=catalog.abilities,
        losses=points_lost_by(request.engine, catalog),
    )


def sizer_for(
    task: Task,
    request: Request,
    machine: Machine,
    catalog: Catalog,
    *,
    specs: Mapping[str, ModelSpec] | None = None,
    prepared: PreparedModels | None = None,
) -> Sizer:
    """Estimates of catalog models on the fewest of the machine's devices that hold them, each made once; and of models that `specs` has by their Hub id.

    Where the task writes nothing, a decoder only reads too: it has no decode rate then.
    """
    prompt = request.prompt_tokens or task.prompt_tokens
    writes = task.output_tokens > 0
    found_specs = specs or {}

    ready = PreparedModels(PreparedLayouts) if prepared is None else prepared

    def spec_of(model: str) -> ModelSpec | None:
        return found_specs[model] if model in found_specs else catalog.model(model).spec

    @cache
    def ways(model: str) -> tuple[Division, ...]:
        spec = spec_of(model)
        return () if spec is None else divisions(machine, request.engine, spec)

    @cache
    def at(model: str, precision: str, context_tokens: int, sequences: int, way: int) -> Sized | None:
        spec = spec_of(model)
        if spec is None:
            return None
        part = ways(model)[way]
        kept = kept_as(request.engine, catalog, spec)
        as_published = precision in ("stored", kept)
        if precision == "stored" and kept is not None:
            precision = kept
        on_cpu = machine.device is not None and machine.device.device_class == "cpu"
        if precision == "stored" and (on_cpu or not stores_quantised(request.engine, catalog, spec)):
            return None  # on a CPU such weights are unpacked to 16 bit
        sees = "image" in task.inputs and spec.image_tokens is not None
        workload = Workload(context_tokens=context_tokens, sequences=sequences, images=1 if sees else 0,
            tensor_parallel=part.tensor_parallel, pipeline_parallel=part.pipeline_parallel)  # fmt: skip
        try:
            found = estimate_for(
                spec,
                precision,
                workload,
                part.machine,
                catalog,
                engine=request.engine,
                prompt_tokens=prompt,
                prepared=ready[model],
            )
        except ArchitectureUnknownError:
            return None
        if found.speed is not None and not writes:
            reads = msgspec.structs.replace(found.speed, decode_tokens_per_s=None, throughput_tokens_per_s=None)
            found = msgspec.structs.replace(found, speed=reads)
        return Sized(precision=precision, memory=found, speed=found.speed, as_published=as_published)

    def size(
        model: str, precision: str, context_tokens: int, share: float = 1.0, sequences: int | None = None
    ) -> Sized | None:
        together = request.sequences if sequences is None else sequences
        return _fewest(ways(model), partial(at, model, precision, context_tokens, together), share)

    return size


def _fewest(ways: tuple[Division, ...], at: Callable[[int], Sized | None], share: float) -> Sized | None:
    """The model on the fewest devices that hold it in `share` of their budget, else on the most; `at` sizes it at a way's number."""
    found: Sized | None = None
    for number, way in enumerate(ways):
        if found is not None and number < len(ways) - 1 and _is_too_small(way, found, share):
            continue
        found = at(number)
        if found is None or found.memory.refused is not None or fits(found.memory, share):
            return found
    return found


def _is_too_small(way: Division, found: Sized, share: float) -> bool:
    """Whether the weights alone, as sized on fewer devices, are more than these devices offer."""
    budget = found.memory.device_budget_bytes
    return budget is not None and found.memory.weights_bytes > budget * share * way.machine.count
