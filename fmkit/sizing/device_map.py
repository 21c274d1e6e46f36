"""Which module goes to which device: `device_map="auto"` as transformers 5.23 works it out with accelerate's rules.

Modules are placed in their order, one device after another. A layer is never split; the first device keeps room for the
largest layer that is still to come, which it would have to take in if that were off-loaded; tied weights stay together.
With several devices each but the last is held to an even share and a buffer of 1.25 times the largest layer. Source:
transformers 5.23 `integrations/accelerate.py`, `get_balanced_memory` and `infer_auto_device_map`; equal to what they
return on real models (tests/sizing/test_device_map.py).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.model.tensor_layers import layers_with
from fmkit.sizing.stages import is_in_stack, split_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fmkit.model.spec import ModelSpec, TensorGroup

Place = int | Literal["cpu", "disk"]
"""A device by number, main memory, or disk."""

SHARE_OF_ONE = 0.9
"""Of a single device that much is used for weights. Source: `get_balanced_memory`."""

BUFFER_LAYERS = 1.25
"""Largest layers by which the share of each of several devices is raised. Source: `get_balanced_memory`."""


class Module:
    """A module of the model: its bytes, its buffers' bytes, its own tensors and its children in their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes = 0
        self.buffer_bytes = 0
        self.has_tensors = False
        self.whole = False
        self.children: dict[str, Module] = {}

    def child(self, name: str) -> Module:
        """The child of that name, made where there is none."""
        if name not in self.children:
            self.children[name] = Module(f"{self.name}.{name}" if self.name else name)
        return self.children[name]

    @property
    def own_bytes(self) -> int:
        """Bytes of its own tensors, without its children's."""
        return self.bytes - sum(child.bytes for child in self.children.values())

    @property
    def own_buffer_bytes(self) -> int:
        """Bytes of its own buffers."""
        return self.buffer_bytes - sum(child.buffer_bytes for child in self.children.values())

    @property
    def is_unit(self) -> bool:
        """Whether it goes to one device as it is."""
        return self.whole or not self.children

    def units(self) -> Iterator[Module]:
        """The modules inside that are never split, itself where it is one."""
        if self.is_unit:
            yield self
            return
        for child in self.children.values():
            yield from child.units()

    def leaves(self) -> Iterator[Module]:
        """The modules inside that have tensors of their own."""
        if self.has_tensors or not self.children:
            yield self
        for child in self.children.values():
            yield from child.leaves()


NamedGroups = tuple[tuple["TensorGroup", list[str]], ...]
"""The groups of equal tensors of a model, each with the names of its tensors."""


def module_tree(groups: NamedGroups, group_bytes: Callable[[TensorGroup], int]) -> Module:
    """The modules of a model with their bytes, layers unfolded; `group_bytes` says what a group of equal tensors takes."""
    root = Module("")
    for group, names in groups:
        each = group_bytes(group) // group.count
        unit_depth = group.name.partition(".*.")[0].count(".") + 2 if "*" in group.name else None
        for name in names:
            _add(root, name, each, group, unit_depth)
    _sort_layers(root)
    return root


def unfolded(spec: ModelSpec) -> NamedGroups:
    """Each group with the names of its tensors: the first `*` is the layer's number."""
    return tuple(_unfolded(spec))


def _unfolded(spec: ModelSpec) -> Iterator[tuple[TensorGroup, list[str]]]:
    lengths = _list_lengths(spec)
    stack = split_stack(spec)
    for group in _in_module_order(spec):
        prefix, star, rest = group.name.partition(".*.")
        if not star:
            yield group, [group.name] * group.count
            continue
        length = lengths[prefix]
        if is_in_stack(group, spec, stack) and length == stack.layers:
            places = layers_with(group, stack)
        else:
            places = tuple(number * length // group.count for number in range(group.count))
        yield group, [f"{prefix}.{layer}.{rest}" for layer in places]


def _in_module_order(spec: ModelSpec) -> list[TensorGroup]:
    """The tensors in the order in which the model's class makes its modules: a projector stands before the language model.

    Llama 3.2 Vision alone has it last; CLIP has its text tower first.
    """
    if spec.kind == "clip":
        return sorted(spec.tensors, key=lambda group: (group.part == "projector", group.name.startswith("vision")))
    if spec.cached_stack is None or len(spec.stacks) == 1 or spec.model_type == "mllama":
        return list(spec.tensors)
    return sorted(spec.tensors, key=lambda group: _MODULE_ORDER.get(group.part, 2))


_MODULE_ORDER = {"vision": 0, "audio": 0, "qformer": 0, "projector": 1}


def _list_lengths(spec: ModelSpec) -> dict[str, int]:
    """Layers of each list of modules, by its name: the number of tensors that most of its groups have."""
    counts: dict[str, Counter[int]] = {}
    for group in spec.tensors:
        prefix, star, _ = group.name.partition(".*.")
        if star:
            counts.setdefault(prefix, Counter())[group.count] += 1
    stack = split_stack(spec)
    found = {}
    for prefix, seen in counts.items():
        members = next(group for group in spec.tensors if group.name.startswith(f"{prefix}.*."))
        found[prefix] = stack.layers if is_in_stack(members, spec, stack) else seen.most_common(1)[0][0]
    return found


def _add(root: Module, name: str, size: int, group: TensorGroup, unit_depth: int | None) -> None:
    *modules, _ = name.split(".")
    node = root
    path = [root]
    for depth, part in enumerate(modules, 1):
        node = node.child(part)
        node.whole = node.whole or depth == unit_depth
        path.append(node)
    node.has_tensors = True
    for each in path:
        each.bytes += size
        each.buffer_bytes += size if group.module == "buffer" else 0


def _sort_layers(module: Module) -> None:
    """Numbered children in the order of their numbers, whatever order their tensors came in."""
    if module.children and all(name.isdigit() for name in module.children):
        module.children = dict(sorted(module.children.items(), key=lambda item: int(item[0])))
    for child in module.children.values():
        _sort_layers(child)


class DeviceMap(msgspec.Struct, frozen=True):
    """Where each module went: unsplit modules by name, in the order of the model. `first` is the place that runs what is off-loaded."""

    places: dict[str, Place]
    first: Place = 0

    def place_of(self, tensor: str) -> Place:
        """Where the tensor of that name lies; one of the model itself, or a buffer of a split module, lies where modules run."""
        name = tensor
        while name and name not in self.places:
            name = name.rpartition(".")[0]
        return self.places.get(name, self.first)


def balanced_limits(root: Module, limits: Sequence[int]) -> list[int]:
    """Bytes of weights that each device is given: an even share and a buffer, the last one all it has.

    `limits` are the free bytes of the devices. A single device is used to 90 %.
    """
    if len(limits) == 1:
        return [int(limits[0] * SHARE_OF_ONE)]
    largest_unit = max(unit.bytes for unit in root.units())
    largest_leaf = max(leaf.own_bytes for leaf in root.leaves())
    share = root.bytes // len(limits) + int(BUFFER_LAYERS * max(largest_unit, largest_leaf))
    return [min(share, limit) for limit in limits[:-1]] + [limits[-1]]


def infer(
    root: Module, limits: Sequence[int], host_bytes: int | None, tied: Sequence[tuple[str, str]] = ()
) -> DeviceMap:
    """The place of each module: devices with `limits` bytes for weights, then main memory, then disk.

    `host_bytes` None is main memory without a limit, 0 none. `tied` are pairs of modules that share their weight: the
    first holds its bytes, and takes the other along, with what else is in that.
    """
    places: dict[str, Place] = {}
    targets: list[tuple[Place, int | None]] = [*enumerate(limits), ("cpu", host_bytes), ("disk", None)]
    used = [0] * len(targets)
    current = 0
    waiting = list(root.children.values())
    largest = _largest_units(waiting)
    companions = dict(tied)
    while waiting:
        module = waiting.pop(0)
        # the module at hand needs no room kept for it; equal ones that are still to come do
        largest = [unit for unit in largest if not _is_inside(unit.name, module.name)] or _largest_units(waiting)
        place, limit = targets[current]
        room = largest[0].bytes if largest and place in (0, "cpu") else 0
        companion = next((companions[name] for name in companions if _is_inside(name, module.name)), None)
        beside = root.children[companion].bytes if companion in root.children else 0
        if limit is None or used[current] + module.bytes + beside <= limit - room:
            used[current] += module.bytes + beside
            places[module.name] = place
            if companion is not None:
                places[companion] = place
                waiting = [other for other in waiting if other.name != companion]
        elif module.is_unit:
            used[current] += room
            current += 1
            waiting.insert(0, module)
        else:
            waiting = [*module.children.values(), *waiting]
            largest = _largest_units(waiting)
    return DeviceMap(places, 0 if limits else "cpu")


def _is_inside(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _largest_units(modules: Sequence[Module]) -> list[Module]:
    """The unsplit modules that no other is larger than."""
    units = [unit for module in modules for unit in module.units()]
    most = max((unit.bytes for unit in units), default=0)
    return [unit for unit in units if unit.bytes == most]
