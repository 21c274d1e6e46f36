"""Weights: what the engine holds, per part of the model, to the byte."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from fmkit.sizing.estimate import MemoryLine
from fmkit.units import format_count

if TYPE_CHECKING:
    from fmkit.model.precision import Layout, Portions
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
    "adapter": "adapter",
    "whole": "all parts",
}
"""How a part of the model is called on screen, in the order of the model."""


def weight_lines(spec: ModelSpec, layout: Layout) -> tuple[MemoryLine, ...]:
    """One line per part of the model. Bytes are the sum over the part's tensors of what the layout makes of each.

    Source: the tensors' shapes from config.json (transformers 5.23) and the layout's own source.
    """
    by_part: dict[Part, list[TensorGroup]] = {}
    for group in spec.tensors:
        by_part.setdefault(group.part, []).append(group)
    lines = [_part_line(part, by_part[part], spec, layout) for part in PART_NAMES if part in by_part]
    return tuple(line for line in lines if line.bytes)


def weight_bytes(spec: ModelSpec, layout: Layout) -> int:
    """Resident bytes of all weights and buffers.

    Bytes = sum over tensors of elements * bytes of the type they are held in, scales included, tied tensors once.
    """
    return sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors)


def rotary_frequencies(spec: ModelSpec) -> list[TensorGroup]:
    """The buffer of frequencies of each rotary embedding; not the second one that keeps them unscaled (`original_inv_freq`)."""
    return [
        group
        for group in spec.tensors
        if group.part == "buffer" and group.name.endswith("inv_freq") and "original" not in group.name
    ]


def _part_line(part: Part, groups: list[TensorGroup], spec: ModelSpec, layout: Layout) -> MemoryLine:
    portions = [layout.portions(group) for group in groups]
    total = elements = touched = 0
    for group, shares in zip(groups, portions, strict=True):
        total += layout.portion_bytes(group, shares, spec.config_dtype)
        elements += group.elements
        touched += sum([prod(group.shape) * count for found, count in shares if found is not None])
    if part == "whole":
        return whole_line(total)
    rest = layout.rest_dtype_for(spec.config_dtype)
    if touched == 0:
        reason = f"{format_count(elements)} elements, {_held_in(groups, rest)}"
    else:
        kept = f", {format_count(elements - touched)} kept in {rest}" if touched < elements else ""
        reason = f"{format_count(touched)} {_width(portions)}{kept}"
    in_files = all(group.from_header for group in groups)
    if layout.weight_bits is not None and touched == 0 and part == "experts" and not in_files:
        reason += f"; {experts_left_alone(layout)}"
    bits = 8 * total / elements if elements else 0
    return MemoryLine(
        part=f"weights: {PART_NAMES[part]}",
        bytes=total,
        phase="steady",
        basis="header" if in_files else "formula",
        reason=reason,
        source=(
            "types and shapes listed in the headers of the files"
            if in_files
            else f"tensor shapes of config.json as transformers builds them; {layout.source}"
        ),
        formula=f"{elements:,} elements x {bits:.3f} bit / 8 = {total:,} B",
    )


def whole_line(total: int) -> MemoryLine:
    """Weights in files that were not opened: what the files take, less what is known to be no weights."""
    return MemoryLine(
        part=f"weights: {PART_NAMES['whole']}",
        bytes=total,
        phase="steady",
        basis="measured",
        reason="the size of the files, which were not opened",
        source="file sizes",
        formula=f"{total:,} B",
    )


def experts_left_alone(layout: Layout) -> str:
    """Why fused experts stay as wide as they are: they are parameters of three dimensions, and the quantiser replaces modules."""
    if layout.modules and "parameter" not in layout.modules:
        return f"fused experts are no Linear modules: {layout.name} leaves them alone"
    return f"{layout.name} leaves the experts alone"


def _width(portions: list[Portions]) -> str:
    """How wide the quantised weights are, by the schemes that take part in it."""
    widths = sorted({found.weight_bits or 0 for shares in portions for found, _ in shares if found is not None})
    if widths == [16]:
        return "unpacked to 16 bit, scales beside them"
    return f"quantised to {' and '.join(str(width) for width in widths)} bit with scales"


def _held_in(groups: list[TensorGroup], rest: str) -> str:
    dtypes = sorted({group.dtype or rest for group in groups})
    return "held in " + " and ".join(dtypes)
