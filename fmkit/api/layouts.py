"""Which layout an engine holds a model's weights in at a precision, and which of the model's tensors are sized for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import ArchitectureUnknownError, UsageError, nearest
from fmkit.model.quantised.loading import loaded, plain, unpacks
from fmkit.model.stored_parts import as_stored
from fmkit.sizing.engines.plan import is_cpu

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import Workload


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


def held_on(machine: Machine | None, layout: Layout) -> Layout:
    """The layout on that machine: some weights are unpacked where there is no GPU."""
    return plain(layout) if layout.plain_on_cpu and is_cpu(machine) else layout
