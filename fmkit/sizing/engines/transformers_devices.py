"""transformers 5.23 over several devices, and with weights off-loaded: whole modules by `device_map="auto"`, or `tp_plan="auto"`.

Several devices without an option are used as `device_map="auto"` uses them: one layer after another, so that the
devices work in turn. Off-loaded modules run on the first device, which takes in the weights of one module at a time and
keeps their cache and buffers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.machine import host_budget
from fmkit.sizing.device_map import DeviceMap, Module, Place, balanced_limits, infer, module_tree
from fmkit.sizing.engines.plan import DevicePlan, Placement, is_cpu, is_one_memory
from fmkit.sizing.engines.transformers import Division, Share, TransformersModel, TransformersWeights
from fmkit.sizing.engines.transformers_shares import shares_of
from fmkit.sizing.transformers_tp import tensor_rank
from fmkit.units import ceil_div, format_bytes, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, TensorGroup
    from fmkit.sizing.estimate import Workload

SHARE_OF_HOST = 0.9
"""Of main memory that much is used for weights, the rest goes to disk. Source: transformers 5.23 `get_max_memory`."""

SHARE_WHEN_QUANTISED = 0.9
"""By that the room of every device is cut while bitsandbytes quantises. Source: `adjust_max_memory` of its quantisers."""

WEIGHT_ITSELF = ("mamba", "falcon_mamba")
"""Model types whose mixer takes `dt_proj.weight` into a product of its own instead of calling the module."""

MAX_MEMORY = "max_memory"
"""The option that says how many bytes of weights the first device may hold: `--engine-option max_memory=20GiB`."""


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
        refused = _not_on_cpu(spec, layout) if machine is not None and is_cpu(machine) else None
        return Placement(devices=(DevicePlan(plan=whole.plan(inner, machine)),), refused=refused)
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
    shares = shares_of(whole, root, found, ["cpu"])
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
        shares=shares_of(whole, root, found, used),
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


def _not_on_cpu(spec: ModelSpec, layout: Layout) -> str | None:
    """Why transformers does not run these weights on a processor; as tried with LLM.int8, nf4, torchao and quanto."""
    if spec.model_type not in WEIGHT_ITSELF or layout.weight_bits is None:
        return None
    return f"{layout.name} does not run on a CPU: transformers 5.23 multiplies the matrix `dt_proj` of {spec.model_type} itself, past the quantiser"


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
