"""What `fmkit vram` says of the precisions themselves: what they leave alone, who can load them, and what they cost in quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.precision import DTYPE_BYTES
from fmkit.model.quantised.loading import unpacks
from fmkit.results.vram import PrecisionLoss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.catalog.load import Catalog
    from fmkit.model.precision import Layout, Precision
    from fmkit.model.spec import ModelSpec

_FULL_BITS = 16
_GENERIC = ("int8", "int4", "fp8")
"""Precisions whose layout is each engine's own."""


def precision_notes(spec: ModelSpec, engine: str, layouts: Mapping[str, Layout], catalog: Catalog) -> Iterator[str]:
    """Words about the layouts of the precisions that were sized, and about a stored one that the engine does not load."""
    for precision, layout in layouts.items():
        yield from _untouched(spec, precision, layout)
        if layout.loading is not None:
            yield f"{precision.upper()}: {layout.loading}"
    methods = catalog.engines[engine].stored_methods
    method = spec.stored.method if spec.stored is not None else None
    if method in methods and "stored" in layouts:
        note = methods[method].note
        if note is not None:
            yield f"STORED: {note}"
    elif method is not None and method not in methods and "stored" not in layouts:
        others = [name for name, found in catalog.engines.items() if method in found.stored_methods]
        yield f"{engine} does not load weights stored by {method}" + (f"; {', '.join(others)} does" if others else "")


def _untouched(spec: ModelSpec, precision: str, layout: Layout) -> Iterator[str]:
    """A word where a layout leaves most of the model as it was: its column looks like a mistake otherwise."""
    if layout.weight_bits is None or layout.weight_bits >= _FULL_BITS or layout.file_type is not None:
        return
    rest = layout.rest_dtype_for(spec.config_dtype)
    total = sum(group.elements for group in spec.tensors)
    wide = {
        group: group.elements - layout.touched_elements(group)
        for group in spec.tensors
        if DTYPE_BYTES.get(group.dtype or rest, 0) >= 2
    }
    if sum(wide.values()) <= total / 2:
        return
    experts = sum(elements for group, elements in wide.items() if group.part == "experts")
    share = f"{sum(wide.values()) / total:.0%} of the weights in {rest}"
    why = f"it quantises {', '.join(layout.modules)} only"
    if experts > total / 2 and "parameter" not in layout.modules:
        why += ", and fused experts are parameters of three dimensions"
    yield f"{precision.upper()}: {layout.name} leaves {share}; {why}"


def quality_losses(layouts: Mapping[str, Layout], catalog: Catalog) -> tuple[PrecisionLoss, ...]:
    """What each precision narrower than 16 bit was measured to cost, as published."""
    found = []
    for name, layout in layouts.items():
        precision = _measured_as(name, layout, catalog)
        bits = layout.weight_bits if precision is None else precision.bits
        if bits is not None and (bits < _FULL_BITS or unpacks(layout)):
            losses = precision.losses if precision is not None else ()
            summary = precision.quality_loss if precision is not None else "unknown"
            found.append(PrecisionLoss(precision=name, summary=summary, measurements=losses))
    return tuple(found)


def _measured_as(name: str, layout: Layout, catalog: Catalog) -> Precision | None:
    """The precision whose measurements count: of stored weights that of their layout, where it has a name of its own."""
    if name != "stored":
        return catalog.precisions.get(name)
    of_layout = {
        layout_id: precision
        for engine in catalog.engines.values()
        for precision, layout_id in engine.layouts.items()
        if precision not in _GENERIC
    }
    own = of_layout.get(layout.id)
    return catalog.precisions[own] if own is not None and own != "stored" else None
