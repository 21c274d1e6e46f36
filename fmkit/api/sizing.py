"""One estimate, memory and speed joined: what `vram`, `recommend` and `try` all call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.calibration import engine_here, speed_here
from fmkit.api.kept_rates import kept_here
from fmkit.errors import ArchitectureUnknownError, UsageError, nearest
from fmkit.machine import catalog_machine, memory_machine
from fmkit.model.quantised.loading import loaded, plain, unpacks
from fmkit.model.stored_parts import as_stored
from fmkit.results.vram import Estimate
from fmkit.sizing.engines.plan import is_cpu
from fmkit.sizing.fit import Asked, smallest_devices
from fmkit.sizing.fit import fit as find_fit
from fmkit.sizing.memory import PreparedLayout, PreparedModel
from fmkit.sizing.stages import split_stack
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
    from fmkit.speed.rates import MachineRates


def layout_for(engine: str, precision: str, catalog: Catalog, spec: ModelSpec | None = None) -> Layout:
    """What `engine` makes of `precision` (of `spec`, for the precision `stored`); UsageError names what it offers."""
    if engine not in catalog.engines:
        raise UsageError.unknown("engine", engine, catalog.engines, where="--engine")
    layouts = catalog.engines[engine].layouts
    if precision == "stored" and "stored" not in layouts:
        return _stored_layout(engine, catalog, spec)
    if precision not in layouts:
        raise _not_offered(engine, precision, catalog)
    return catalog.layouts[layouts[precision]]


def _stored_layout(engine: str, catalog: Catalog, spec: ModelSpec | None) -> Layout:
    """The layout that `engine` holds the weights of a repository in, as its config or the headers of its files say."""
    if spec is not None and spec.stored_fault is not None and not spec.stored_tensors:
        raise ArchitectureUnknownError(spec.stored_fault, where="--precision", next_command="--precision fp16")
    if spec is not None and spec.stored is not None and stores_quantised(engine, catalog, spec):
        how = catalog.engines[engine].stored_methods[spec.stored.method or ""]
        return loaded(spec.stored, how.held, plain_on_cpu=how.plain_on_cpu)
    if spec is not None and spec.stored_tensors and spec.stored is None:
        return as_stored(spec)
    if spec is not None and spec.stored is not None:
        others = [name for name, found in catalog.engines.items() if spec.stored.method in found.stored_methods]
        raise UsageError(
            f"{engine} does not load weights stored by {spec.stored.method}; {' and '.join(others)} {'does' if len(others) == 1 else 'do'}",
            where="--precision",
            next_command=f"--engine {others[0]}" if others else None,
        )
    raise UsageError(
        f"{engine} has no quantised weights to load as they are stored; ask for {', '.join(catalog.engines[engine].layouts)}",
        where="--precision",
    )


def _not_offered(engine: str, precision: str, catalog: Catalog) -> UsageError:
    """A precision that the engine has no layout for: who has it, or the nearest that the engine has."""
    others = [name for name, found in catalog.engines.items() if precision in found.layouts]
    if not others:
        return UsageError.unknown("precision", precision, catalog.engines[engine].layouts, where="--precision")
    near = nearest(precision, catalog.engines[engine].layouts)
    return UsageError(
        f"{engine} has no layout {precision}; {' and '.join(others)} {'has' if len(others) == 1 else 'have'}"
        f"{f'. Nearest in {engine}: ' + ', '.join(near) if near else ''}",
        where="--precision",
        next_command=f"--engine {others[0]}",
    )


def stores_quantised(engine: str, catalog: Catalog, spec: ModelSpec | None) -> bool:
    """Whether `engine` loads the weights of `spec` in the quantised layout that its repository stores."""
    return spec is not None and spec.stored is not None and spec.stored.method in catalog.engines[engine].stored_methods


def kept_as(engine: str, catalog: Catalog, spec: ModelSpec) -> str | None:
    """The precision of the engine's own files where they keep the repository's quantisation, which it does not load itself.

    It is MXFP4 in GGUF: llama.cpp's conversion of gpt-oss repacks the blocks (`convert_hf_to_gguf.py`, ggml-org/llama.cpp#16756).
    """
    facts = catalog.engines[engine]
    method = spec.stored.method if spec.stored is not None else None
    return method if method in facts.layouts and method not in facts.stored_methods else None


def has_stored(engine: str, catalog: Catalog, spec: ModelSpec) -> bool:
    """Whether the precision `stored` has a meaning: a quantised layout that the engine loads, or files whose headers were read.

    A quantisation that is not understood counts too: sizing it says what is not.
    """
    reads_files = "stored" not in catalog.engines[engine].layouts  # llama.cpp reads GGUF files only
    if spec.stored is not None:
        return stores_quantised(engine, catalog, spec)
    return reads_files and (bool(spec.stored_tensors) or spec.stored_fault is not None)


def spec_at(
    spec: ModelSpec, precision: str, layout: Layout, workload: Workload, engine: str, machine: Machine | None
) -> ModelSpec:
    """The model whose tensors are to be sized: those of the files for the precision `stored`, where their headers were read.

    Not where the engine pads or unpacks what it loads, or divides it over devices: these go by the architecture.
    """
    padded = unpacks(layout) or (engine == "vllm" and layout.id == "mxfp4")
    degrees = (workload.tensor_parallel, workload.pipeline_parallel, workload.expert_parallel)
    divided = max(degrees) > 1 or workload.offload is not None or (machine is not None and machine.count > 1)
    if precision != "stored" or not spec.stored_tensors or divided or padded:
        return spec
    return msgspec.structs.replace(spec, tensors=spec.stored_tensors)


def _held_on(machine: Machine | None, layout: Layout) -> Layout:
    """The layout on that machine: some weights are unpacked where there is no GPU."""
    return plain(layout) if layout.plain_on_cpu and is_cpu(machine) else layout


def rated(machine: Machine | None, core: CoreRates | None, rates: MachineRates | None = None) -> Machine | None:
    """The machine with rates measured on it, else assumed from its cores, where it is a CPU: no catalog knows its rates.

    What was not measured stays assumed, and is then no ground for a better basis; the device's `sources` say which is which.
    """
    device = machine.device if machine is not None else None
    if machine is None or device is None or device.device_class != "cpu" or device.bandwidth_bytes_per_s is not None:
        return machine
    assumed = _assumed_flops(machine, core)
    torch = rates.on(cpu=True) if rates is not None else None
    measured = {point.dtype: point.per_s for point in torch.operations} if torch is not None else {}
    if rates is not None:
        bandwidth = round(rates.copy_bytes_per_s)
        doubt = " with doubts: fmkit hardware show" if rates.doubt is not None else ""
        source = f"{bandwidth / 1e9:.3g} GB/s, measured here on {rates.date}{doubt}"
    elif core is not None and machine.cpu_cores is not None:
        bandwidth = round(min(core.bandwidth_gb_s * machine.cpu_cores, core.most_bandwidth_gb_s) * 1e9)
        source = f"assumed from {machine.cpu_cores} cores"
    else:
        return machine
    with_rates = msgspec.structs.replace(
        device,
        bandwidth_bytes_per_s=bandwidth,
        flops_per_s={**assumed, **measured},
        sources={
            "bandwidth_gb_s": source,
            "tflops": "measured here" if measured else f"assumed from {machine.cpu_cores} cores",
        },
        verified=bool(measured) and measured.keys() >= assumed.keys(),
    )
    return msgspec.structs.replace(machine, device=with_rates)


def _assumed_flops(machine: Machine, core: CoreRates | None) -> dict[str, float]:
    """Operations per second of all cores, by the formats that the processor has instructions for."""
    if core is None or machine.cpu_cores is None:
        return {}
    return {name: rate * machine.cpu_cores * 1e12 for name, rate in core.tflops.items() if name in machine.cpu_formats}


def estimate_for(
    spec: ModelSpec,
    precision: str,
    workload: Workload,
    machine: Machine | None,
    catalog: Catalog,
    *,
    engine: str = "transformers",
    prompt_tokens: int | None = None,
    prepared: PreparedLayouts | None = None,
) -> Estimate:
    """Memory and speed of `spec` at `precision` for `workload` on `machine` (None: nobody's, so nothing is judged to fit).

    `prepared` keeps what an estimate worked out for the next one of the same model.
    """
    layout = layout_for(engine, precision, catalog, spec)
    return estimate_layout(
        spec,
        precision,
        layout,
        workload,
        machine,
        catalog,
        engine=engine,
        prompt_tokens=prompt_tokens,
        prepared=prepared,
    )


def estimate_layout(
    spec: ModelSpec,
    precision: str,
    layout: Layout,
    workload: Workload,
    machine: Machine | None,
    catalog: Catalog,
    *,
    engine: str,
    prompt_tokens: int | None = None,
    prepared: PreparedLayouts | None = None,
) -> Estimate:
    """As `estimate_for`, for weights in a layout that need not be what the engine makes of a precision (a packed repository)."""
    layout = _held_on(machine, layout)
    sized = spec_at(spec, precision, layout, workload, engine, machine)
    facts = engine_here(catalog, engine, machine)
    at = (prepared or PreparedLayouts()).of(sized, engine, layout)
    memory = at.estimate(facts, precision, workload, machine)
    if machine is not None and facts.why_not_on(machine.device) is not None:
        return Estimate(**msgspec.structs.asdict(memory))
    rates = kept_here(machine) if machine is not None else None
    on = rated(machine, facts.cpu_core, rates)
    speed = estimate_speed(spec, memory, layout, on, catalog.speed, prompt_tokens, workload.images, rates=rates)
    speed = speed_here(speed, memory, machine, catalog)
    if speed is None and memory.refused is None and on is not None and on.device is not None:
        note = f"no speed at {precision.upper()}: {missing_reason(memory, on, layout)}"
        memory = msgspec.structs.replace(memory, warnings=(*memory.warnings, note))
    return Estimate(**msgspec.structs.asdict(memory), speed=speed)


class PreparedLayouts:
    """Models made ready for many estimates: the last one asked about at each layout of each engine."""

    def __init__(self) -> None:
        self._models: dict[str, PreparedModel] = {}
        self._layouts: dict[tuple[str, str], PreparedLayout] = {}

    def of(self, spec: ModelSpec, engine: str, layout: Layout) -> PreparedLayout:
        """The model in that engine at that layout."""
        found = self._layouts.get((engine, layout.id))
        if found is not None and found.spec is spec and found.layout is layout:
            return found
        model = self._models.get(engine)
        if model is None or model.spec is not spec:
            model = self._models[engine] = PreparedModel(spec, engine)
        found = self._layouts[engine, layout.id] = model.at(layout)
        return found


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
        layout = _held_on(machine, layout)
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


def find_inverse(
    sizer: ModelSizer, precisions: Sequence[str], context_tokens: int, sequences: int, machine: Machine
) -> Fit:
    """The most that fits on `machine`: context, sequences, precision, and the smallest catalog device that would do."""
    ordered = sorted(precisions, key=sizer.quality, reverse=True)
    return find_fit(sizer, _asked(sizer, context_tokens, sequences, machine), ordered)


def several_devices(sizer: ModelSizer, estimate: MemoryEstimate) -> str | None:
    """The fewest devices of one kind that hold together what none alone does: `h100-sxm5-80gb:2`."""
    machine = memory_machine(estimate.per_device_bytes)
    asked = _asked(sizer, estimate.context_tokens, estimate.sequences, machine)
    return smallest_devices(sizer, estimate.precision, asked, estimate.peak_bytes)


def _asked(sizer: ModelSizer, context_tokens: int, sequences: int, machine: Machine) -> Asked:
    return Asked(
        machine=machine,
        context_tokens=context_tokens,
        sequences=sequences,
        layers=split_stack(sizer.spec).layers,
        max_context_tokens=sizer.spec.max_context_tokens,
        devices=sizer.devices(),
        counted=counted,
    )


def counted(machine: Machine, count: int) -> Machine | None:
    """So many devices of a machine's kind; None where that is a computer, or a size without a device."""
    device = machine.device
    if device is None or device.memory_bytes is None or device.device_class == "cpu" or device.unified_memory:
        return machine if count == 1 else None
    found = catalog_machine(device, count)
    return msgspec.structs.replace(
        found,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        host_memory_bytes=machine.host_memory_bytes,
    )
