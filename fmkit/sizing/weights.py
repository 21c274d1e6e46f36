"""Weights: what the engine holds, per part of the model, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.sizing.estimate import MemoryLine
from fmkit.units import format_count

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, Part, TensorGroup

PART_NAMES: dict[Part, str] = {
    "embedding": "embeddings",
    "attention": "attention",
    "mlp": "feed-forward",
    "experts": "experts",
    "router": "router",
    "norm": "norms",
    "state": "state-space",
    "head": "output head",
    "vision": "vision tower",
    "audio": "audio encoder",
    "qformer": "Q-Former",
    "projector": "projector",
    "buffer": "buffers",
}
"""How a part of the model is called on screen, in the order of the model."""


def weight_lines(spec: ModelSpec, layout: Layout) -> list[MemoryLine]:
    """One line per part of the model. Bytes are the sum over the part's tensors of what the layout makes of each.

    Source: the tensors' shapes from config.json (transformers 5.23) and the layout's own source.
    """
    by_part: dict[Part, list[TensorGroup]] = {}
    for group in spec.tensors:
        by_part.setdefault(group.part, []).append(group)
    lines = [_part_line(part, by_part[part], spec, layout) for part in PART_NAMES if part in by_part]
    return [line for line in lines if line.bytes]


def weight_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Resident bytes of all weights and buffers.

    Bytes = sum over tensors of elements * bytes of the type they are held in, scales included, tied tensors once.
    """
    return sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)


def _part_line(part: Part, groups: list[TensorGroup], spec: ModelSpec, layout: Layout) -> MemoryLine:
    total = sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in groups)
    elements = sum(group.elements for group in groups)
    touched = sum(group.elements for group in groups if layout.touches(group))
    rest = layout.rest_dtype_for(spec.config_dtype)
    if touched == 0:
        reason = f"{format_count(elements)} elements, {_held_in(groups, rest)}"
    else:
        kept = f", {format_count(elements - touched)} kept in {rest}" if touched < elements else ""
        reason = f"{format_count(touched)} quantised to {layout.weight_bits} bit with scales{kept}"
    if layout.weight_bits is not None and touched == 0 and part == "experts":
        reason += f"; fused experts are no Linear modules: {layout.name} leaves them alone"
    bits = 8 * total / elements if elements else 0
    return MemoryLine(
        part=f"weights: {PART_NAMES[part]}",
        bytes=total,
        phase="steady",
        basis="formula",
        reason=reason,
        source=f"tensor shapes of config.json as transformers builds them; {layout.source}",
        formula=f"{elements:,} elements x {bits:.3f} bit / 8 = {total:,} B",
    )


def _held_in(groups: list[TensorGroup], rest: str) -> str:
    dtypes = sorted({group.dtype or rest for group in groups})
    return "held in " + " and ".join(dtypes)
