"""What `fmkit vram` says of the precisions themselves: what they leave alone, who can load them, and what they cost in quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.layouts import kept_as
from fmkit.model.precision import DTYPE_BYTES
from fmkit.model.quality import PointsLost, loss_in_words, loss_of, points_lost
from fmkit.model.quantised.loading import unpacks
from fmkit.results.vram import PrecisionLoss
from fmkit.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.catalog.load import Catalog
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec

_FULL_BITS = 16


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
    elif (kept := kept_as(engine, catalog, spec)) is not None:
        yield (
            f"{engine}'s files of this model keep what is stored in {kept.upper()} as it is (--precision {kept}); "
            "other precisions are those of weights unpacked to 16 bit before"
        )
    elif method is not None and method not in methods and "stored" not in layouts:
        others = [name for name, found in catalog.engines.items() if method in found.stored_methods]
        able = f"; {' and '.join(others)} {'does' if len(others) == 1 else 'do'}" if others else ""
        yield f"{engine} does not load weights stored by {method}{able}"


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
    share = f"{format_percent(sum(wide.values()) / total, digits=0)} of the weights in {rest}"
    why = f"it quantises {', '.join(layout.modules)} only"
    if experts > total / 2 and "parameter" not in layout.modules:
        why += ", and fused experts are parameters of three dimensions"
    yield f"{precision.upper()}: {layout.name} leaves {share}; {why}"


def quality_losses(layouts: Mapping[str, Layout], catalog: Catalog) -> tuple[PrecisionLoss, ...]:
    """What the layout of each precision narrower than 16 bit was measured to cost, as published."""
    return tuple(
        PrecisionLoss(
            precision=name,
            summary=loss_in_words(layout.id, layout.weight_bits, catalog.quality_losses),
            measurements=loss_of(layout.id, catalog.quality_losses),
        )
        for name, layout in layouts.items()
        if layout.weight_bits is not None and (layout.weight_bits < _FULL_BITS or unpacks(layout))
    )


def points_lost_by(engine: str, catalog: Catalog) -> dict[str, PointsLost]:
    """What each of the engine's precisions narrower than 16 bit costs in points, where enough was measured."""
    layouts = {name: catalog.layouts[layout] for name, layout in catalog.engines[engine].layouts.items()}
    lost = {
        name: points_lost(layout.id, layout.weight_bits, catalog.quality_losses)
        for name, layout in layouts.items()
        if layout.weight_bits is not None and layout.weight_bits < _FULL_BITS
    }
    return {name: found for name, found in lost.items() if found is not None}


def losses_of_engine(engine: str, catalog: Catalog) -> dict[str, str]:
    """In words what each of the engine's precisions narrower than 16 bit was measured to cost."""
    layouts = {name: catalog.layouts[layout] for name, layout in catalog.engines[engine].layouts.items()}
    return {loss.precision: loss.summary for loss in quality_losses(layouts, catalog)}
