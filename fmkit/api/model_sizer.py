"""Sizes one model in one engine, for searches over precisions, contexts, sequences and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.calibration import engine_here
from fmkit.api.layouts import held_on, kept_as, layout_for, spec_at
from fmkit.api.sizing import PreparedLayouts, estimate_for
from fmkit.machine import catalog_machine
from fmkit.model.stored_parts import as_stored
from fmkit.results.vram import Estimate

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate, Workload


class ModelSizer:
    """Sizes one model in one engine, for the search over precisions, contexts, sequences and machines.

    `workload` holds what the search leaves alone (encoder tokens, images, attention).
    """

    def __init__(self, spec: ModelSpec, catalog: Catalog, engine: str, workload: Workload) -> None:
        self.spec = spec
        self.catalog = catalog
        self.engine = engine
        self.workload = workload
        self._prepared = PreparedLayouts()

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine) -> MemoryEstimate:
        """The memory of the model at these settings, judged against `machine`."""
        layout = layout_for(self.engine, precision, self.catalog, self.spec)
        workload = msgspec.structs.replace(self.workload, context_tokens=context_tokens, sequences=sequences)
        layout = held_on(machine, layout)
        spec = spec_at(self.spec, precision, layout, workload, self.engine, machine)
        facts = engine_here(self.catalog, self.engine, machine)
        return self._prepared.of(spec, self.engine, layout).estimate(facts, precision, workload, machine)

    def with_workload(self, workload: Workload) -> ModelSizer:
        """The same model with other options."""
        return ModelSizer(self.spec, self.catalog, self.engine, workload)

    def estimate(self, precision: str, workload: Workload, machine: Machine) -> Estimate:
        """Memory and speed of the model at that precision."""
        return estimate_for(
            self.spec, precision, workload, machine, self.catalog, engine=self.engine, prepared=self._prepared
        )

    def bits(self, precision: str) -> int:
        """Nominal bits per weight of a precision."""
        if precision == "stored" and self.spec.stored_tensors:
            layout = as_stored(self.spec)
            total = sum(layout.tensor_group_bytes(group, self.spec.config_dtype) for group in self.spec.stored_tensors)
            return round(8 * total / max(1, self.spec.params))
        return self.catalog.precisions[precision].bits

    def quality(self, precision: str) -> tuple[bool, int]:
        """What orders precisions from the worst up: bits, but nothing is better than what the engine's own files keep as it was published."""
        return precision == kept_as(self.engine, self.catalog, self.spec), self.bits(precision)

    def devices(self) -> list[Machine]:
        """One machine for each accelerator of the catalog that the engine runs on and whose memory is known."""
        engine = self.catalog.engines[self.engine]
        return [
            catalog_machine(device, 1)
            for device in self.catalog.devices.values()
            if device.memory_bytes is not None and device.device_class != "cpu" and engine.why_not_on(device) is None
        ]
