"""llama.cpp over devices and host: `gpu_layers` of the model on the devices, the rest in main memory, each layer's cache with it.

Of a mixture the experts alone of `n_cpu_moe` layers can stay in main memory: most of the bytes, few of which a token reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.sizing.engines.llama_cpp_backends import backend_on, why_no_backend
from fmkit.sizing.engines.llama_cpp_cache import Layers, device_layers
from fmkit.sizing.engines.llama_cpp_mmproj import with_mmproj
from fmkit.sizing.engines.llama_cpp_options import AUTO, settings_from
from fmkit.sizing.engines.plan import DevicePlan, Placement, is_one_memory, total
from fmkit.sizing.search import largest
from fmkit.units import GIB

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.engines.llama_cpp import LlamaCppWeights
    from fmkit.sizing.engines.llama_cpp_options import Settings
    from fmkit.sizing.estimate import Workload

ONE_MEMORY = ("n_cpu_moe changes nothing here: the device computes from main memory",)
MARGIN_BYTES = GIB
"""What llama.cpp leaves free of each device when it chooses the layers itself. Source: `--fit-target`, 1024 MiB by default."""


def place(whole: LlamaCppWeights, workload: Workload, machine: Machine | None) -> Placement:
    """What each device holds, and the host beside them; UsageError for ways of dividing that llama.cpp does not have here."""
    _refuse(workload)
    settings = settings_from(workload.options)
    return msgspec.structs.replace(
        _place(whole, workload, machine, settings),
        refused=why_no_backend(machine, settings.backend),
        backend=backend_on(machine, settings.backend),
        flash_attention=settings.flash_attention if "flash_attention" in workload.options else None,
    )


def _place(whole: LlamaCppWeights, workload: Workload, machine: Machine | None, settings: Settings) -> Placement:
    if is_one_memory(machine):
        alone = with_mmproj(whole.plan(workload, machine, devices=1), whole.spec, workload)
        return Placement(devices=(DevicePlan(plan=alone),), warnings=ONE_MEMORY if settings.n_cpu_moe else ())
    devices = workload.pipeline_parallel if workload.pipeline_parallel > 1 else machine.count if machine else 1
    if settings.n_cpu_moe == AUTO:
        workload = keeping_experts(workload, fewest_cpu_experts(whole, workload, machine, devices))
    wanted = settings.gpu_layers
    if wanted == AUTO or (wanted is None and workload.offload is not None):
        wanted = most_layers(whole, workload, machine, devices)
    return _placed(whole, workload, machine, devices, wanted)


def _refuse(workload: Workload) -> None:
    for option, asked in (
        ("--tensor-parallel", workload.tensor_parallel),
        ("--expert-parallel", workload.expert_parallel),
    ):
        if asked > 1:
            raise UsageError(
                "llama.cpp divides a model by layers here: --pipeline-parallel or --gpu DEVICE:N", where=option
            )
    if workload.offload == "disk":
        raise UsageError(
            "llama.cpp maps the file: what main memory has no room for is read again and again; ask for --offload cpu",
            where="--offload",
        )


def most_layers(whole: LlamaCppWeights, workload: Workload, machine: Machine | None, devices: int) -> int | None:
    """The most layers that leave a GiB free on each device; None for all of them."""
    if machine is None:
        return None
    layers = whole.model.layers

    def fits(count: int) -> bool:
        placement = _placed(whole, workload, machine, devices, count - 1)
        return all(_bytes(each) + MARGIN_BYTES <= machine.usable_bytes for each in placement.devices)

    found = largest(fits, layers + 2)
    return None if found == layers + 2 else max(0, (found or 1) - 1)


def fewest_cpu_experts(whole: LlamaCppWeights, workload: Workload, machine: Machine | None, devices: int) -> int:
    """The fewest layers whose experts have to stay in main memory for all else to leave a GiB free on each device; all if none are enough."""
    if machine is None or not whole.spec.is_mixture:
        return 0
    layers = whole.model.layers

    def fits(on_device: int) -> bool:
        kept = keeping_experts(workload, layers + 1 - on_device)
        placement = _placed(whole, kept, machine, devices, None)
        return all(_bytes(each) + MARGIN_BYTES <= machine.usable_bytes for each in placement.devices)

    return layers + 1 - (largest(fits, layers + 1) or 1)


def keeping_experts(workload: Workload, layers: int) -> Workload:
    """The workload with the experts of so many layers in main memory."""
    return msgspec.structs.replace(workload, options={**workload.options, "n_cpu_moe": str(layers)})


def _bytes(device: DevicePlan) -> int:
    return total((*device.plan.weights, *device.plan.cache, *device.plan.decode))


def _placed(
    whole: LlamaCppWeights, workload: Workload, machine: Machine | None, devices: int, wanted: int | None
) -> Placement:
    runs = device_layers(whole.model.layers, wanted, devices)
    plans = [whole.plan(workload, machine, layers, len(runs)) for layers in runs]
    alone = [
        with_mmproj(plans[0], whole.spec, workload),
        *(msgspec.structs.replace(each, host=()) for each in plans[1:]),
    ]
    return Placement(
        devices=tuple(DevicePlan(plan=each, holds=_holds(layers)) for each, layers in zip(alone, runs, strict=True)),
        pipeline_parallel=len(runs),
        warnings=_warnings(runs[0], devices, whole.spec, settings_from(workload.options).n_cpu_moe),
    )


def _holds(layers: Layers) -> str:
    if layers.count == layers.total:
        return "the whole model"
    names = [f"layers {layers.first}-{layers.end - 1}"] if layers.count else []
    if layers.has_output:
        names.append("output")
    return ", ".join(names) or "no layers"


def _warnings(first: Layers, devices: int, spec: ModelSpec, cpu_experts: int) -> tuple[str, ...]:
    experts = min(cpu_experts, first.total)
    if experts and not spec.is_mixture:
        return ("n_cpu_moe keeps nothing in main memory here: the model has no experts",)
    if not first.first and (first.has_output or devices > 1):
        if not experts:
            return ()
        return (
            f"the experts of {experts} of {first.total} layers stay in main memory (n_cpu_moe={experts}) and are computed there",
        )
    wanted = first.total - first.first + int(first.first < first.total)
    text = f"{first.first} of {first.total} layers stay in main memory (gpu_layers={wanted}): they decode at the host's speed"
    if spec.is_mixture and not experts:
        text += "; with n_cpu_moe=auto only experts do, which is faster"
    return (text,)
