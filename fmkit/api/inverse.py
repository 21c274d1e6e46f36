"""The question from the other end: the most that fits on a machine, and the smallest devices that would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.model_sizer import ModelSizer
from fmkit.machine import catalog_machine, memory_machine
from fmkit.sizing.fit import Asked, smallest_devices
from fmkit.sizing.fit import fit as find_fit
from fmkit.sizing.stages import split_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Machine
    from fmkit.sizing.estimate import Fit, MemoryEstimate


def find_inverse(
    sizer: ModelSizer, precisions: Sequence[str], context_tokens: int, sequences: int, machine: Machine
) -> Fit:
    """The most that fits on `machine`: context, sequences, precision, and the smallest catalog device that would do."""
    ordered = sorted(precisions, key=sizer.quality, reverse=True)
    return find_fit(sizer, _asked(sizer, context_tokens, sequences, machine), ordered)


def several_devices(sizer: ModelSizer, estimate: MemoryEstimate) -> str | None:
    """The fewest devices of one kind that hold together what none alone does: `h100-sxm5-80gb:2`."""
    machine = memory_machine(estimate.per_device_bytes)
    asked = _asked(sizer, estimate.context_tokens, estimate.sequences, machine)
    return smallest_devices(sizer, estimate.precision, asked, estimate.peak_bytes)


def _asked(sizer: ModelSizer, context_tokens: int, sequences: int, machine: Machine) -> Asked:
    return Asked(
        machine=machine,
        context_tokens=context_tokens,
        sequences=sequences,
        layers=split_stack(sizer.spec).layers,
        max_context_tokens=sizer.spec.max_context_tokens,
        devices=sizer.devices(),
        counted=counted,
    )


def counted(machine: Machine, count: int) -> Machine | None:
    """So many devices of a machine's kind; None where that is a computer, or a size without a device."""
    device = machine.device
    if device is None or device.memory_bytes is None or device.device_class == "cpu" or device.unified_memory:
        return machine if count == 1 else None
    found = catalog_machine(device, count)
    return msgspec.structs.replace(
        found,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        host_memory_bytes=machine.host_memory_bytes,
    )
