"""Sizes catalog models for a question, on the fewest of the machine's devices that hold them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.division import divisions
from fmkit.api.layouts import kept_as, stores_quantised
from fmkit.api.sizing import PreparedLayouts, estimate_for
from fmkit.errors import ArchitectureUnknownError
from fmkit.selection.sized import Sized, fits
from fmkit.sizing.estimate import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.api.division import Division
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.selection.facts import Task
    from fmkit.selection.request import Request
    from fmkit.speed.estimate import SpeedEstimate

PreparedModels = defaultdict[str, PreparedLayouts]
"""Models made ready for sizing, by name."""


class CatalogSizer:
    """Estimates of catalog models on the fewest of the machine's devices that hold them, each made once; and of models that `specs` has by their Hub id.

    Where the task writes nothing, a decoder only reads too: it has no decode rate then.
    """

    def __init__(
        self,
        task: Task,
        request: Request,
        machine: Machine,
        catalog: Catalog,
        *,
        specs: Mapping[str, ModelSpec] | None = None,
        prepared: PreparedModels | None = None,
    ) -> None:
        self._task = task
        self._request = request
        self._machine = machine
        self._catalog = catalog
        self._specs = specs or {}
        self._prepared = PreparedModels(PreparedLayouts) if prepared is None else prepared
        self._ways: dict[str, tuple[Division, ...]] = {}
        self._sized: dict[tuple[str, str, int, int, int], Sized | None] = {}

    def __call__(
        self, model: str, precision: str, context_tokens: int, share: float = 1.0, sequences: int | None = None
    ) -> Sized | None:
        """The model on the fewest devices that hold it in `share` of their budget, else on the most."""
        together = self._request.sequences if sequences is None else sequences
        ways = self._ways_of(model)
        found: Sized | None = None
        for number, way in enumerate(ways):
            if found is not None and number < len(ways) - 1 and _is_too_small(way, found, share):
                continue
            key = (model, precision, context_tokens, together, number)
            if key not in self._sized:
                self._sized[key] = self._size(model, precision, context_tokens, together, way)
            found = self._sized[key]
            if found is None or found.memory.refused is not None or fits(found.memory, share):
                return found
        return found

    def _ways_of(self, model: str) -> tuple[Division, ...]:
        """How the model may be divided over the machine's devices, the fewest first."""
        if model not in self._ways:
            spec = self._spec(model)
            self._ways[model] = () if spec is None else divisions(self._machine, self._request.engine, spec)
        return self._ways[model]

    def _spec(self, model: str) -> ModelSpec | None:
        return self._specs[model] if model in self._specs else self._catalog.model(model).spec

    def _size(self, model: str, precision: str, context_tokens: int, sequences: int, way: Division) -> Sized | None:
        spec = self._spec(model)
        if spec is None:
            return None
        engine, catalog = self._request.engine, self._catalog
        kept = kept_as(engine, catalog, spec)
        as_published = precision in ("stored", kept)
        if precision == "stored" and kept is not None:
            precision = kept
        if precision == "stored" and (self._on_processor or not stores_quantised(engine, catalog, spec)):
            return None  # on a CPU such weights are unpacked to 16 bit
        try:
            found = estimate_for(
                spec,
                precision,
                self._workload(spec, context_tokens, sequences, way),
                way.machine,
                catalog,
                engine=engine,
                prompt_tokens=self._request.prompt_tokens or self._task.prompt_tokens,
                prepared=self._prepared[model],
            )
        except ArchitectureUnknownError:
            return None
        found = msgspec.structs.replace(found, speed=self._speed_of_the_task(found.speed))
        return Sized(precision=precision, memory=found, speed=found.speed, as_published=as_published)

    @property
    def _on_processor(self) -> bool:
        device = self._machine.device
        return device is not None and device.device_class == "cpu"

    def _workload(self, spec: ModelSpec, context_tokens: int, sequences: int, way: Division) -> Workload:
        return Workload(
            context_tokens=context_tokens,
            sequences=sequences,
            images=_images(spec, self._task),
            tensor_parallel=way.tensor_parallel,
            pipeline_parallel=way.pipeline_parallel,
        )

    def _speed_of_the_task(self, speed: SpeedEstimate | None) -> SpeedEstimate | None:
        """The speed without rates of writing, where the task writes nothing."""
        if speed is None or self._task.output_tokens > 0:
            return speed
        return msgspec.structs.replace(speed, decode_tokens_per_s=None, throughput_tokens_per_s=None)


def _images(spec: ModelSpec, task: Task) -> int | None:
    """Images of one request: one where the task has them. A tower beside the text's takes one of itself: none of it is context."""
    if "image" not in task.inputs:
        return 0
    return 1 if spec.image_tokens is not None else None if spec.kind == "clip" else 0


def _is_too_small(way: Division, found: Sized, share: float) -> bool:
    """Whether the weights alone, as sized on fewer devices, are more than these devices offer."""
    budget = found.memory.device_budget_bytes
    return budget is not None and found.memory.weights_bytes > budget * share * way.machine.count
