"""transformers 5.23 over several devices, and with weights off-loaded: whole modules by `device_map="auto"`, or `tp_plan="auto"`.

Several devices without an option are used as `device_map="auto"` uses them: one layer after another, so that the
devices work in turn. Off-loaded modules run on the first device, which takes in the weights of one module at a time and
keeps their cache and buffers.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.machine import host_budget
from fmkit.model.spec import TOWER_ROLES
from fmkit.sizing.device_map import DeviceMap, Module, Place, balanced_limits, infer, module_tree
from fmkit.sizing.engines.plan import DevicePlan, Placement, is_cpu, is_one_memory
from fmkit.sizing.engines.transformers import Division, Share, TransformersModel, TransformersWeights
from fmkit.sizing.estimate import MemoryLine
from fmkit.sizing.stages import split_stack
from fmkit.sizing.transformers_tp import tensor_rank
from fmkit.sizing.weights import weight_lines
from fmkit.units import ceil_div, format_bytes, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, TensorGroup
    from fmkit.sizing.estimate import Workload

SHARE_OF_HOST = 0.9
"""Of main memory that much is used for weights, the rest goes to disk. Source: transformers 5.23 `get_max_memory`."""

SHARE_WHEN_QUANTISED = 0.9
"""By that the room of every device is cut while bitsandbytes quantises. Source: `adjust_max_memory` of its quantisers."""

MAX_MEMORY = "max_memory"
"""The option that says how many bytes of weights the first device may hold: `--engine-option max_memory=20GiB`."""

ON_DISK = "weights: on disk"
BROUGHT_IN = "weights: module brought in"
"""The part of an estimate that is there only while an off-loaded module runs."""

SOURCE = "transformers 5.23 integrations/accelerate.py; the same placement as on real models (tests/sizing/test_device_map.py)"


def place(whole: TransformersWeights, workload: Workload, machine: Machine | None) -> Placement:
    """What each device holds; UsageError where the model can't be divided as asked."""
    spec, layout = whole.spec, whole.layout
    if workload.expert_parallel > 1:
        raise UsageError("transformers is not sized in expert parallel by this version", where="--expert-parallel")
    given = workload.options.get(MAX_MEMORY)
    inner = workload
    if given is not None:
        options = {name: value for name, value in workload.options.items() if name != MAX_MEMORY}
        inner = msgspec.structs.replace(workload, options=options)
    if workload.tensor_parallel > 1:
        return _tensor_parallel(spec, layout, inner, machine)
    first = None if given is None else parse_size(given, where=f"--engine-option {MAX_MEMORY}")
    if machine is not None and workload.offload is not None and is_cpu(machine):
        return _placed(
            _kept(whole, partial(_partly_on_disk, whole, machine, first), machine, first, "disk"), inner, machine
        )
    devices = _device_count(workload, machine)
    if devices == 1 and workload.offload is None:
        return Placement(devices=(DevicePlan(plan=whole.plan(inner, machine)),))
    divide = partial(_mapped, whole, inner.offload, machine, devices, first)
    found = _kept(whole, divide, machine, first, devices, inner.offload)
    return msgspec.structs.replace(_placed(found, inner, machine), pipeline_parallel=len(found.shares))


def _kept(
    whole: TransformersWeights, divide: Callable[[], Division], machine: Machine | None, *options: object
) -> Division:
    """The division of a model on that machine, worked out once: the work does not change it."""
    room = None if machine is None else (machine.usable_bytes, host_budget(machine))
    found = whole.divisions.get((room, *options))
    if found is None:
        found = whole.divisions[room, *options] = divide()
    return found


def _placed(division: Division, workload: Workload, machine: Machine | None) -> Placement:
    """The division at work."""
    return Placement(
        devices=tuple(_device_plan(share, workload, machine) for share in division.shares),
        warnings=division.warnings,
        refused=division.refused,
    )


def _device_plan(share: Share, workload: Workload, machine: Machine | None) -> DevicePlan:
    """The plan of one device, or of a CPU with weights on disk."""
    found = share.weights.plan(workload, machine)
    if share.brought_in or share.host or share.disk:
        found = msgspec.structs.replace(
            found, weights=(*found.weights, *share.brought_in), host=share.host, disk=share.disk
        )
    return DevicePlan(plan=found, holds=share.holds)


def _device_count(workload: Workload, machine: Machine | None) -> int:
    if workload.offload is not None and machine is not None and is_one_memory(machine):
        raise UsageError(
            f"there is nothing to off-load on {machine.name}: its memory is main memory", where="--offload"
        )
    if workload.pipeline_parallel > 1:
        return workload.pipeline_parallel
    return 1 if machine is None or is_cpu(machine) else machine.count


def _tensor_parallel(spec: ModelSpec, layout: Layout, workload: Workload, machine: Machine | None) -> Placement:
    if workload.pipeline_parallel > 1 or workload.offload is not None:
        option = "--offload" if workload.offload is not None else "--pipeline-parallel"
        raise UsageError("transformers takes either tp_plan or device_map, not both", where=option)
    degree = workload.tensor_parallel
    rank = TransformersModel(tensor_rank(spec, degree)).at(layout).plan(workload, machine)
    spare = (
        (f"{degree} of the {machine.count} devices are used",) if machine is not None and machine.count > degree else ()
    )
    return Placement(
        devices=(DevicePlan(plan=rank, count=degree, holds=f"1/{degree} of each layer"),),
        tensor_parallel=degree,
        warnings=spare,
    )


def _partly_on_disk(whole: TransformersWeights, machine: Machine, limit: int | None) -> Division:
    """A CPU that keeps at most `limit` bytes of weights in main memory, without a limit 90 % of it, and reads the rest from disk as it runs."""
    spec, layout = whole.spec, whole.layout
    root = module_tree(whole.model.named_groups, lambda group: _planned_bytes(group, layout, spec))
    room = int(machine.usable_bytes * SHARE_OF_HOST) if limit is None else limit
    share = 1.0 if layout.weight_bits is None else SHARE_WHEN_QUANTISED
    found = infer(root, [], int(room * share), _tied(spec))
    shares = _shares(whole, root, found, ["cpu"])
    return Division(shares=shares, refused=_refusal(layout, found, "cpu"))


def _mapped(
    whole: TransformersWeights, offload: str | None, machine: Machine | None, devices: int, first: int | None
) -> Division:
    """Modules over `devices`, and over main memory and disk where off-loading is asked for."""
    spec, layout = whole.spec, whole.layout
    root = module_tree(whole.model.named_groups, lambda group: _planned_bytes(group, layout, spec))
    free = [2 * root.bytes] * devices if machine is None else [machine.usable_bytes] * devices
    limits = balanced_limits(root, free) if first is None else [min(first, free[0]), *free[1:]]
    if layout.weight_bits is not None:
        limits = [int(limit * SHARE_WHEN_QUANTISED) for limit in limits]
    if offload is None:
        limits[-1] = 2 * root.bytes  # nothing may go elsewhere: what is too much, is too much on the last device
    host = host_budget(machine)
    host_limit = 0 if offload == "disk" else None if host is None else int(host * SHARE_OF_HOST)
    found = infer(root, limits, host_limit, _tied(spec))
    spilled = 0 if offload is not None or machine is None else _spilled(root, [*limits[:-1], free[-1]], _tied(spec))
    used = sorted(place for place in set(found.places.values()) if isinstance(place, int)) or [0]
    found = msgspec.structs.replace(
        found, first=used[0]
    )  # where nothing fits on the first device, modules run on the next
    return Division(
        shares=_shares(whole, root, found, used),
        warnings=tuple(_warnings(devices, used, spilled)),
        refused=_refusal(layout, found, 0),
    )


def _spilled(root: Module, limits: list[int], tied: tuple[tuple[str, str], ...]) -> int:
    """Bytes that device_map="auto" takes off devices of these limits, where nobody tells it not to."""
    found = infer(root, limits, None, tied)
    return sum(leaf.own_bytes for leaf in root.leaves() if not isinstance(found.place_of(f"{leaf.name}.weight"), int))


def _planned_bytes(group: TensorGroup, layout: Layout, spec: ModelSpec) -> int:
    """What the placement counts for a group: quantised weights without their scales."""
    if layout.touches(group):
        return ceil_div(group.elements * (layout.weight_bits or 0), 8)
    return layout.tensor_group_bytes(group, spec.config_dtype)


def _tied(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    """The embedding with the output matrix that is tied to it."""
    if not spec.tied_head:
        return ()
    rows = spec.vocab_size or 0
    table = next((group.name for group in spec.tensors if group.part == "embedding" and group.shape[0] >= rows), None)
    head = (
        "cls" if any(group.name.startswith("cls.") for group in spec.tensors) else "lm_head"
    )  # BERT's has more than the matrix
    return ((table.removesuffix(".weight"), head),) if table is not None else ()


PlacedGroups = list[tuple["TensorGroup", list[int], list[Place]]]
"""The groups of equal tensors, each with the layers (none outside of layers) and the places of its tensors."""


def _shares(whole: TransformersWeights, root: Module, found: DeviceMap, numbers: Sequence[Place]) -> tuple[Share, ...]:
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


def _warnings(devices: int, used: list[int], spilled_bytes: int) -> list[str]:
    texts = []
    if len(used) > 1:
        texts.append(f"device_map puts whole layers on {len(used)} devices, which work in turn: no faster than one")
    if len(used) < devices:
        texts.append(f"device_map leaves {devices - len(used)} of {devices} devices empty")
    if spilled_bytes:
        texts.append(
            f"left to itself, device_map would put {format_bytes(spilled_bytes)} of weights into main memory, and run them from there: "
            "--offload sizes that; here the last device has them"
        )
    return texts


def _refusal(layout: Layout, found: DeviceMap, runs_on: Place) -> str | None:
    """Why transformers does not load this placement: quantisers that take no module that lies elsewhere."""
    away = {place for place in found.places.values() if not isinstance(place, int)} - {runs_on}
    if not away or layout.weight_bits is None:
        return None
    library = layout.id.partition("-")[0]
    if library == "bnb":
        return "bitsandbytes refuses to load with modules off-loaded, unless llm_int8_enable_fp32_cpu_offload keeps them in float32"
    if library == "quanto":
        return "optimum-quanto refuses to quantise a model with modules off-loaded"
    if library == "torchao" and "disk" in away:
        return "transformers 5.23 fails to quantise with torchao where modules go to disk"
    return None
