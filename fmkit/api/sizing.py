"""One estimate, memory and speed joined: what `vram`, `recommend` and `try` all call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.calibration import engine_here, speed_here
from fmkit.api.kept_rates import kept_here
from fmkit.api.layouts import held_on, layout_for, spec_at
from fmkit.api.processor_rates import rated
from fmkit.results.vram import Estimate
from fmkit.sizing.memory import PreparedLayout, PreparedModel
from fmkit.speed.roofline import estimate as estimate_speed
from fmkit.speed.roofline import missing_reason

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


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
    layout = held_on(machine, layout)
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
