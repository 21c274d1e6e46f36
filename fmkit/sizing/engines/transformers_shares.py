"""What one device sees of a model that `device_map` placed: a model of its own, and the lines of what lies elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.spec import TOWER_ROLES
from fmkit.sizing.device_map import DeviceMap, Module, Place
from fmkit.sizing.engines.transformers import Share, TransformersModel, TransformersWeights
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.stages import split_stack
from fmkit.sizing.weights import weight_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, TensorGroup

ON_DISK = "weights: on disk"
BROUGHT_IN = "weights: module brought in"
"""The part of an estimate that is there only while an off-loaded module runs."""

SOURCE = "transformers 5.23 integrations/accelerate.py; the same placement as on real models (tests/sizing/test_device_map.py)"

PlacedGroups = list[tuple["TensorGroup", list[int], list[Place]]]
"""The groups of equal tensors, each with the layers (none outside of layers) and the places of its tensors."""


def shares_of(
    whole: TransformersWeights, root: Module, found: DeviceMap, numbers: Sequence[Place]
) -> tuple[Share, ...]:
    """The share of each device; the first one, or a CPU with weights on disk, runs what is off-loaded."""
    groups = [
        (group, _layers(group, names), [found.place_of(name) for name in names])
        for group, names in whole.model.named_groups
    ]
    return tuple(_share(whole, root, found, groups, number) for number in numbers)


def _share(whole: TransformersWeights, root: Module, found: DeviceMap, groups: PlacedGroups, number: Place) -> Share:
    spec, layout = whole.spec, whole.layout
    places: tuple[Place, ...] = ("cpu", "disk") if number == 0 else ("disk",) if number == "cpu" else ()
    here, layers = _spec_at(spec, groups, holds={number}, runs={number, *places})
    away = any(place in found.places.values() for place in places)
    return Share(
        weights=TransformersModel(here).at(layout),
        holds=_holds(layers, found, number),
        brought_in=_streamed_lines(root, found, places) if away else (),
        host=_away_lines(spec, layout, found, groups, "cpu") if away and "cpu" in places else (),
        disk=_away_lines(spec, layout, found, groups, "disk") if away else (),
    )


def _spec_at(
    spec: ModelSpec, groups: PlacedGroups, *, holds: Collection[Place], runs: Collection[Place]
) -> tuple[ModelSpec, list[int]]:
    """The model as one device sees it: the tensors it `holds` (and all buffers of what it `runs`), the layers it runs and keeps.

    Beside it the numbers of the layers whose weights it holds.
    """
    stack = split_stack(spec)
    tensors = []
    layers: dict[int, Place] = {}
    towers_here: set[str] = set()
    has_head = False
    for group, numbered, places in groups:
        kept = runs if group.module == "buffer" else holds
        count = sum(place in kept for place in places)
        if count:
            tensors.append(msgspec.structs.replace(group, count=count))
        is_here = any(place in runs for place in places)
        tower = _tower_of(group, spec)
        if tower is not None and is_here:
            towers_here.add(tower)
        elif tower is None and numbered:
            layers |= zip(numbered, places, strict=True)
        is_output = group.part == "head" or (spec.tied_head and group.part == "embedding" and "*" not in group.name)
        has_head = has_head or (is_output and is_here)
    numbers = Counter(stack.layer_blocks[layer] for layer, place in layers.items() if place in runs)
    blocks = tuple(msgspec.structs.replace(stack.blocks[number], count=count) for number, count in numbers.items())
    # a tower elsewhere runs nothing here, but says how many tokens cross-attention keeps
    towers = tuple(
        other if other.role in towers_here else msgspec.structs.replace(other, blocks=(), order=())
        for other in spec.stacks
        if other is not stack
    )
    here = msgspec.structs.replace(
        spec,
        stacks=(msgspec.structs.replace(stack, blocks=blocks, order=()), *towers),
        tensors=tuple(tensors),
        has_head=spec.has_head and has_head,
    )
    return here, sorted(layer for layer, place in layers.items() if place in holds)


def _tower_of(group: TensorGroup, spec: ModelSpec) -> str | None:
    """The stack of another modality, or the encoder, that a group of tensors belongs to; None for the stack that is divided."""
    if group.part in TOWER_ROLES:
        return group.part if group.part != split_stack(spec).role else None
    in_encoder = spec.stack("encoder") is not None and spec.cached_stack is not None and "decoder" not in group.name
    return "encoder" if "*" in group.name and in_encoder else None


def _layers(group: TensorGroup, names: list[str]) -> list[int]:
    """The number of the layer that each tensor belongs to; none where the group stands for no layers."""
    prefix, star, _ = group.name.partition("*")
    return [int(name[len(prefix) :].partition(".")[0]) for name in names] if star else []


def _holds(layers: list[int], found: DeviceMap, number: Place) -> str:
    names = []
    if layers:
        names.append(f"layers {layers[0]}-{layers[-1]}" if len(layers) > 1 else f"layer {layers[0]}")
    if any(place == number and ("embed" in name or "wte" in name) for name, place in found.places.items()):
        names.append("embedding")
    if any(place == number and "head" in name for name, place in found.places.items()):
        names.append("head")
    return ", ".join(names) or "other modules"


def _streamed_lines(root: Module, found: DeviceMap, places: Collection[Place]) -> tuple[MemoryLine, ...]:
    """The largest module that is brought in from `places` to run: a linear layer, a norm or fused experts, not the whole layer."""
    away = [leaf for leaf in root.leaves() if found.place_of(f"{leaf.name}.weight") in places]
    if not away:
        return ()
    largest = max(away, key=lambda leaf: leaf.own_bytes)
    return (
        MemoryLine(
            part=BROUGHT_IN,
            bytes=largest.own_bytes - largest.own_buffer_bytes,
            phase="steady",
            basis="formula",
            reason=f"off-loaded weights come one module at a time; the largest is {largest.name}",
            source="accelerate 1.15 hooks.py, AlignDevicesHook",
            formula=f"weights of {largest.name} = {largest.own_bytes - largest.own_buffer_bytes:,} B",
        ),
    )


def _away_lines(
    spec: ModelSpec, layout: Layout, found: DeviceMap, groups: PlacedGroups, target: Place
) -> tuple[MemoryLine, ...]:
    """The weights that lie in main memory or on disk."""
    tensors = tuple(
        msgspec.structs.replace(group, count=count)
        for group, _, places in groups
        if group.module != "buffer" and (count := sum(place == target for place in places))
    )
    if not tensors:
        return ()
    size = sum(line.bytes for line in weight_lines(msgspec.structs.replace(spec, tensors=tensors), layout))
    units = [name for name, place in found.places.items() if place == target]
    where = "in main memory" if target == "cpu" else "on disk"
    return (
        MemoryLine(
            part="weights: off-loaded" if target == "cpu" else ON_DISK,
            bytes=size,
            phase="steady",
            basis="formula",
            reason=f"{len(units)} modules {where}, {units[0]} to {units[-1]}",
            source=SOURCE,
            formula=f"sum over their tensors = {size:,} B",
        ),
    )
