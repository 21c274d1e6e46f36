"""The device of a trial: what `--device` may say, and the machine it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.machines import this_machine
from fmkit.errors import UsageError

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.trial.request import TorchDevice


class Kind(msgspec.Struct, frozen=True):
    """A kind of device: PyTorch's name of it, the vendors who make it, and what it is called where it is missing."""

    torch_name: TorchDevice
    vendors: tuple[str, ...]
    called: str


KINDS = {
    "cpu": Kind("cpu", (), "processor"),
    "cuda": Kind("cuda", ("nvidia", "amd"), "NVIDIA or AMD accelerator"),
    "rocm": Kind("cuda", ("amd",), "AMD accelerator"),
    "mps": Kind("mps", ("apple",), "Apple GPU"),
    "xpu": Kind("xpu", ("intel",), "Intel GPU"),
}
"""By what the user calls it. ROCm's PyTorch names its devices `cuda`."""

CHOSEN_UNASKED = ("cuda",)
"""Kinds that are taken where they are there; the others only by name, for no trial of ours has run on one."""


def machine_for(device: str | None, catalog: Catalog) -> tuple[Machine, TorchDevice]:
    """The machine the trial runs on, as far as it is free now, and PyTorch's name of its device."""
    if device is not None and device not in KINDS:
        raise UsageError.unknown("device", device, tuple(KINDS), where="--device")
    machine = this_machine(catalog)
    chosen = "cpu" if device is None else device
    if device is None:
        chosen = next((name for name in CHOSEN_UNASKED if _has(machine, KINDS[name])), "cpu")
    kind = KINDS[chosen]
    if chosen != "cpu" and not _has(machine, kind):
        raise UsageError(
            f"no {kind.called} was found in this machine", where="--device", next_command="fmkit hardware show"
        )
    if chosen == "cpu" and machine.device is not None and machine.device.device_class != "cpu":
        from fmkit.hardware import cpu  # noqa: PLC0415
        from fmkit.hardware.detect import processor_only  # noqa: PLC0415

        machine = processor_only(cpu.probe())
    if machine.free_bytes is not None and machine.free_bytes < machine.usable_bytes:
        machine = msgspec.structs.replace(machine, usable_bytes=machine.free_bytes, reserve_reason="free now")
    return machine, kind.torch_name


def _has(machine: Machine, kind: Kind) -> bool:
    device = machine.device
    return device is not None and device.device_class != "cpu" and device.vendor in kind.vendors
