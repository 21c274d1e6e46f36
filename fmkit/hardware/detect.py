"""All probes together: this computer as a Machine."""

from __future__ import annotations

from fmkit.errors import UsageError
from fmkit.hardware import amd, apple, cpu, intel, nvidia
from fmkit.hardware.cpu import Host
from fmkit.hardware.disk import disk_kind, models_folder
from fmkit.hardware.probe import Found
from fmkit.machine import Device, DeviceClassName, Machine, device_reserve, host_reserve

PROBES = (nvidia.probe, amd.probe, apple.probe, intel.probe)
"""In the order of preference: the first that finds something is the accelerator that models run on."""


def detect() -> Machine:
    """This computer: its accelerators, else its processor. Asks the vendors' tools, each with a deadline of 5 s."""
    host = cpu.probe()
    for probe in PROBES:
        found = probe()
        if found:
            return accelerated(found, host)
    return processor_only(host)


def accelerated(found: list[Found], host: Host) -> Machine:
    """A machine of the cards that are like the first one: a model is not spread over unequal cards."""
    first = found[0]
    alike = [card for card in found if card.name == first.name and card.memory_bytes == first.memory_bytes]
    memory_bytes = first.memory_bytes
    free_bytes = min((card.free_bytes for card in alike if card.free_bytes is not None), default=None)
    if memory_bytes is None and first.unified_memory:
        memory_bytes, free_bytes = host.memory_bytes, host.free_bytes
    if memory_bytes is None:
        raise UsageError(
            f"{first.name} does not say how much memory it has", where="this machine", next_command="--memory SIZE"
        )
    device = Device(
        id="this-machine",
        name=first.name,
        vendor=first.vendor,
        device_class=device_class(first),
        memory_bytes=memory_bytes,
        bandwidth_bytes_per_s=None,
        unified_memory=first.unified_memory,
    )
    reserve = device_reserve(device, memory_bytes)
    return Machine(
        name=first.name if len(alike) == 1 else f"{len(alike)} x {first.name}",
        origin="detected",
        device=device,
        count=len(alike),
        memory_bytes=memory_bytes,
        usable_bytes=memory_bytes - reserve.bytes,
        free_bytes=free_bytes,
        host_memory_bytes=host.memory_bytes,
        cpu_cores=host.cores,
        reserve_reason=reserve.reason,
        cpu_formats=host.formats,
        cpu_threads_per_core=host.threads_per_core,
        numa_nodes=host.numa_nodes,
        disk=disk_kind(models_folder()),
    )


def processor_only(host: Host) -> Machine:
    """A machine without an accelerator: models run on its processor, in main memory."""
    if host.memory_bytes is None:
        raise UsageError(
            "can't tell how much memory this machine has",
            where="this machine",
            next_command="--memory SIZE or --gpu DEVICE",
        )
    reserve = host_reserve(host.memory_bytes)
    device = Device(
        id="this-machine",
        name=host.name,
        vendor="cpu",
        device_class="cpu",
        memory_bytes=host.memory_bytes,
        bandwidth_bytes_per_s=None,
    )
    return Machine(
        name=host.name if host.cores is None else f"{host.name}, {host.cores} cores",
        origin="detected",
        device=device,
        count=1,
        memory_bytes=host.memory_bytes,
        usable_bytes=host.memory_bytes - reserve.bytes,
        free_bytes=host.free_bytes,
        host_memory_bytes=host.memory_bytes,
        cpu_cores=host.cores,
        cpu_formats=host.formats,
        cpu_threads_per_core=host.threads_per_core,
        numa_nodes=host.numa_nodes,
        disk=disk_kind(models_folder()),
        reserve_reason=f"{reserve.reason}; {host.limited_by}" if host.limited_by else reserve.reason,
    )


def device_class(found: Found) -> DeviceClassName:
    """The class that a card's name says; a name that says nothing is taken for a consumer card."""
    if found.unified_memory:
        return "integrated"
    name = found.name.casefold()
    if any(word in name for word in ("quadro", "rtx a", "rtx pro", "radeon pro", " ada generation")):
        return "workstation"
    if found.vendor == "nvidia" and not any(word in name for word in ("geforce", "titan", "gtx", "rtx")):
        return "datacentre"
    return "datacentre" if "instinct" in name or "data center" in name else "consumer"
