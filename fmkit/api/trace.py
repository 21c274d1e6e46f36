"""`fmkit vram --trace`: the activations of the real implementation, from a run without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.trial_request import config_of, require_libraries
from fmkit.errors import UsageError
from fmkit.sizing.engines.plan import cache_dtype, encoder_tokens_for
from fmkit.sizing.estimate import TracedPeaks, Workload
from fmkit.sizing.forward import images_per_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.api.resolve import ResolvedModel
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.trial.trace.request import TraceCell, TraceResult

LIBRARIES = ("torch", "transformers", "accelerate")


class Tracer:
    """Puts traced peaks into workloads, in place of the formulas for activations."""

    def __init__(self, spec: ModelSpec, layouts: Mapping[str, Layout], found: Mapping[TraceCell, TracedPeaks]) -> None:
        self._spec = spec
        self._layouts = layouts
        self._found = found

    def __call__(self, workload: Workload, precision: str) -> Workload:
        """The workload with the peaks traced for it, in the type that the precision computes in."""
        cell = _cell(self._spec, workload, self._layouts[precision])
        return msgspec.structs.replace(workload, traced=self._found[cell])


def trace_all(
    resolved: ResolvedModel,
    spec: ModelSpec,
    catalog: Catalog,
    workloads: Sequence[Workload],
    layouts: Mapping[str, Layout],
    machine: Machine | None,
    *,
    engine: str,
    progress: Callable[[str], None] | None = None,
) -> Tracer:
    """Trace each workload once in each type that the layouts compute in, all in one process of its own.

    Raises UsageError for an engine or a workload that can't be traced, MissingExtraError without PyTorch, and what
    `run_trace` raises.
    """
    _refuse(resolved, spec, workloads[0], machine, engine)
    require_libraries(LIBRARIES, "--trace")
    from fmkit.trial.trace.request import TraceRequest  # noqa: PLC0415  with what it starts, only where it is asked for
    from fmkit.trial.trace.start import run_trace  # noqa: PLC0415

    cells = tuple(dict.fromkeys(_cell(spec, shape, layout) for shape in workloads for layout in layouts.values()))
    request = TraceRequest(
        model=resolved.ref,
        kind=spec.kind if spec.kind != "vision-language" else "decoder",
        config=config_of(resolved, catalog),
        cells=cells,
        eager=workloads[0].attention == "eager",
    )
    result = run_trace(request, progress=progress)
    return Tracer(spec, layouts, dict(zip(cells, _peaks(cells, result), strict=True)))


def _refuse(resolved: ResolvedModel, spec: ModelSpec, first: Workload, machine: Machine | None, engine: str) -> None:
    """Refuse what has no trace: another engine, files of another engine, images whose places a model finds by value."""
    if engine != "transformers":
        raise UsageError(f"--trace runs the code of transformers, and {engine} has its own", where="--trace")
    several = machine is not None and machine.count > 1
    if several or first.options or first.offload is not None or first.pipeline_parallel > 1:
        raise UsageError("--trace takes the default cache on one device, without engine options", where="--trace")
    if spec.kind != "clip" and spec.stack("vision") is not None and images_per_sequence(spec, first):
        raise UsageError(
            "a trace can't find an image's places among the tokens",
            where="--trace",
            next_command=f"fmkit vram {resolved.ref} --trace --images 0",
        )


def _cell(spec: ModelSpec, workload: Workload, layout: Layout) -> TraceCell:
    from fmkit.trial.trace.request import TraceCell  # noqa: PLC0415

    return TraceCell(
        dtype=cache_dtype(spec, layout),
        context_tokens=workload.context_tokens,
        encoder_tokens=encoder_tokens_for(spec, workload),
        sequences=workload.sequences,
    )


def _peaks(cells: Sequence[TraceCell], result: TraceResult) -> list[TracedPeaks]:
    libraries = " and ".join(f"{name} {version}" for name, version in result.libraries.items())
    return [
        TracedPeaks(
            prefill_bytes=traced.prefill_bytes,
            decode_bytes=traced.decode_bytes,
            source=f"{libraries} run on fake tensors in {cell.dtype} on a CPU, every live storage counted",
        )
        for cell, traced in zip(cells, result.traced, strict=True)
    ]
