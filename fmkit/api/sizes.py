"""`fmkit catalog sizes`: classes of size, and what fits where."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.asked import tokens
from fmkit.api.inverse import several_devices
from fmkit.api.machines import resolve_machine
from fmkit.api.model_sizer import ModelSizer
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import memory_machine
from fmkit.results.sizes import SizeCell, SizeRow, SizesResult
from fmkit.selection.request import DEFAULT_PRECISIONS
from fmkit.sizing.estimate import Workload
from fmkit.sizing.fit import smallest_device

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.selection.facts import SizeClass

DEFAULT_CONTEXT = "4k"
ANY_MEMORY_BYTES = 2**50
"""More than any model takes: a figure without a machine is that of a bare size."""


def sizes(
    *,
    context: str | int = DEFAULT_CONTEXT,
    engine: str = "transformers",
    gpu: str | None = None,
    memory: str | None = None,
) -> SizesResult:
    """Each class of size with the memory of its example at 16, 8 and 4 bit, and the smallest device that holds it.

    With `gpu` or `memory`, also whether it fits there.
    """
    catalog = load_catalog()
    if engine not in catalog.engines:
        raise UsageError.unknown("engine", engine, catalog.engines, where="--engine")
    length = tokens(context, "--context")
    machine = resolve_machine(gpu, memory, catalog) if gpu or memory else None
    classes = list(catalog.sizes.values())
    below = [after.from_params for _, after in pairwise(classes)] + [None]
    return SizesResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        engine=engine,
        context_tokens=length,
        machine=None if machine is None else machine.name,
        usable_bytes=None if machine is None else machine.usable_bytes,
        sizes=tuple(
            _row(size, limit, catalog, engine, length, machine) for size, limit in zip(classes, below, strict=True)
        ),
    )


def _row(
    size: SizeClass, below: int | None, catalog: Catalog, engine: str, length: int, machine: Machine | None
) -> SizeRow:
    example = None if size.example is None else catalog.model(size.example)
    cells: tuple[SizeCell, ...] = ()
    if example is not None and example.spec is not None:
        sizer = ModelSizer(example.spec, catalog, engine, Workload(context_tokens=length, sequences=1))
        cells = tuple(_cell(sizer, precision, length, machine) for precision in DEFAULT_PRECISIONS)
    return SizeRow(
        id=size.id,
        name=size.name,
        use=size.use,
        from_params=size.from_params,
        below_params=below,
        models=None if size.from_params is None else _count(size.from_params, below, catalog),
        example=size.example,
        params=None if example is None else example.candidate.params,
        apis=size.apis,
        cells=cells,
    )


def _count(at_least: int, below: int | None, catalog: Catalog) -> int:
    """The catalog's language models in the class: decoders that write text, base and tuned ones."""
    return sum(
        at_least <= candidate.params and (below is None or candidate.params < below)
        for candidate in catalog.candidates()
        if candidate.params is not None and candidate.api is None and "text" in candidate.outputs
        and candidate.tuning in {"base", "instruct", "reasoning"} and candidate.spec_kind != "encoder"
    )  # fmt: skip


def _cell(sizer: ModelSizer, precision: str, length: int, machine: Machine | None) -> SizeCell:
    estimate = sizer(precision, length, 1, machine or memory_machine(ANY_MEMORY_BYTES))
    alone = smallest_device(sizer, precision, length, 1, sizer.devices())
    return SizeCell(
        precision=precision,
        layout=estimate.layout,
        weights_bytes=estimate.weights_bytes,
        peak_bytes=estimate.peak_bytes,
        smallest_device=alone or several_devices(sizer, estimate),
        fits=None if machine is None else estimate.fits,
    )
