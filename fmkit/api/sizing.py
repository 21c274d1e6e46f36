"""One estimate, memory and speed joined: what `vram`, `recommend` and `try` all call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.machine import catalog_machine
from fmkit.results.vram import Estimate
from fmkit.sizing.fit import fit as find_fit
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.roofline import estimate as estimate_speed
from fmkit.speed.roofline import missing_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Fit, MemoryEstimate, Workload
    from fmkit.speed.efficiency import CoreRates


def layout_for(engine: str, precision: str, catalog: Catalog, spec: ModelSpec | None = None) -> Layout:
    """What `engine` makes of `precision` (of `spec`, for the precision `stored`); UsageError names what it offers."""
    if engine not in catalog.engines:
        raise UsageError.unknown("engine", engine, catalog.engines, where="--engine")
    layouts = catalog.engines[engine].layouts
    if precision == "stored" and "stored" not in layouts:
        if not stores_quantised(engine, catalog, spec):
            raise UsageError(
                f"{engine} has no quantised weights to load as they are stored; ask for {', '.join(layouts)}",
                where="--precision",
            )
        assert spec is not None
        assert spec.stored_layout is not None
        return catalog.layouts[spec.stored_layout]
    if precision not in layouts:
        raise UsageError.unknown("precision", precision, layouts, where="--precision")
    return catalog.layouts[layouts[precision]]


def stores_quantised(engine: str, catalog: Catalog, spec: ModelSpec | None) -> bool:
    """Whether `engine` loads the weights of `spec` in the quantised layout that its repository stores."""
    return spec is not None and spec.stored_layout in catalog.engines[engine].stored_layouts


def rated(machine: Machine | None, core: CoreRates | None) -> Machine | None:
    """The machine with rates assumed from its cores, where it is a CPU that nobody measured."""
    device = machine.device if machine is not None else None
    if machine is None or device is None or core is None or machine.cpu_cores is None:
        return machine
    if device.device_class != "cpu" or device.bandwidth_bytes_per_s is not None:
        return machine
    cores = machine.cpu_cores
    rates = {name: rate * cores * 1e12 for name, rate in core.tflops.items() if name in machine.cpu_formats}
    bandwidth = round(min(core.bandwidth_gb_s * cores, core.most_bandwidth_gb_s) * 1e9)
    assumed = msgspec.structs.replace(device, bandwidth_bytes_per_s=bandwidth, flops_per_s=rates, verified=False)
    return msgspec.structs.replace(machine, device=assumed)


def estimate_for(
    spec: ModelSpec,
    precision: str,
    workload: Workload,
    machine: Machine | None,
    catalog: Catalog,
    *,
    engine: str = "transformers",
    prompt_tokens: int | None = None,
) -> Estimate:
    """Memory and speed of `spec` at `precision` for `workload` on `machine` (None: nobody's, so nothing is judged to fit)."""
    layout = layout_for(engine, precision, catalog, spec)
    memory = estimate_memory(spec, catalog.engines[engine], layout, precision, workload, machine)
    facts = catalog.engines[engine]
    on = rated(machine, facts.cpu_core)
    speed = estimate_speed(spec, memory, layout, on, facts.speed, prompt_tokens, workload.images)
    if speed is None and on is not None and on.device is not None:
        note = f"no speed at {precision.upper()}: {missing_reason(memory, on)}"
        memory = msgspec.structs.replace(memory, warnings=(*memory.warnings, note))
    return Estimate(**msgspec.structs.asdict(memory), speed=speed)


class ModelSizer:
    """Sizes one model in one engine, for the search over precisions, contexts, sequences and machines.

    `workload` holds what the search leaves alone (encoder tokens, images, attention).
    """

    def __init__(self, spec: ModelSpec, catalog: Catalog, engine: str, workload: Workload) -> None:
        self.spec = spec
        self.catalog = catalog
        self.engine = engine
        self.workload = workload

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine) -> MemoryEstimate:
        """The memory of the model at these settings, judged against `machine`."""
        layout = layout_for(self.engine, precision, self.catalog, self.spec)
        workload = msgspec.structs.replace(self.workload, context_tokens=context_tokens, sequences=sequences)
        return estimate_memory(self.spec, self.catalog.engines[self.engine], layout, precision, workload, machine)

    def bits(self, precision: str) -> int:
        """Nominal bits per weight of a precision: what orders precisions from the best down."""
        return self.catalog.precisions[precision].bits

    def devices(self) -> list[Machine]:
        """One machine for each accelerator of the catalog whose memory is known."""
        return [
            catalog_machine(device, 1)
            for device in self.catalog.devices.values()
            if device.memory_bytes is not None and device.device_class != "cpu"
        ]


def find_inverse(
    sizer: ModelSizer, precisions: Sequence[str], context_tokens: int, sequences: int, machine: Machine
) -> Fit:
    """The most that fits on `machine`: context, sequences, precision, and the smallest catalog device that would do."""
    ordered = sorted(precisions, key=lambda name: -sizer.bits(name))
    limit = sizer.spec.max_context_tokens
    return find_fit(sizer, machine, ordered, context_tokens, sequences, limit, sizer.devices())
