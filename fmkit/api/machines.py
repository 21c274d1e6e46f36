"""From what people type of hardware to a machine: a device's name and count, a size of memory, or this computer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fmkit.api.asked import text
from fmkit.errors import UsageError, nearest, nearest_phrase
from fmkit.machine import MOST_DEVICES, Device, Machine, catalog_machine, memory_machine
from fmkit.units import parse_size

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog


def resolve_machine(
    gpu: str | None, memory: str | None, catalog: Catalog, *, free: bool = False, memory_beside: bool = False
) -> Machine:
    """The machine that `--gpu` or `--memory` names (`rtx-4090`, `h100-sxm5-80gb:8`, `24GiB`), else this computer.

    A class of CPU has no memory of its own: it takes both. `free` counts what is free now instead of what the machine
    has; it needs this computer. With `memory_beside`, where weights may lie in main memory, `memory` beside a device is
    that.
    """
    if free and (gpu is not None or memory is not None):
        raise UsageError("--free is about this computer: leave out --gpu and --memory", where="--free")
    size = None if memory is None else parse_size(text(memory, "--memory"), where="--memory")
    if gpu is not None:
        name, _, count = text(gpu, "--gpu").partition(":")
        device = resolve_device(name, catalog)
        if size is None or device.memory_bytes is None:
            return catalog_machine(device, _device_count(count, gpu), size)
        if not memory_beside:
            raise UsageError(
                "--gpu and --memory exclude each other: a device states its memory (with --offload, --memory is main memory)",
                where="--memory",
            )
        found = catalog_machine(device, _device_count(count, gpu))
        return msgspec.structs.replace(found, host_memory_bytes=size)
    if size is not None:
        return memory_machine(size)
    return this_machine(catalog, free=free)


def resolve_device(name: str, catalog: Catalog, where: str = "--gpu") -> Device:
    """The catalog's device of that id or alias; UsageError with the nearest ones if there is none. `where` says where the name stands."""
    wanted = name.casefold()
    device_id = wanted if wanted in catalog.devices else catalog.device_aliases.get(wanted)
    if device_id is None:
        names = [*catalog.devices, *catalog.device_aliases]
        valid = nearest_phrase(name, names) if nearest(name, names) else f"; known are {_examples(catalog)}"
        raise UsageError(f"unknown device {name!r}{valid}", where=where, next_command="fmkit hardware list")
    return catalog.devices[device_id]


def _examples(catalog: Catalog, per_vendor: int = 2) -> str:
    """A few devices of each vendor, and how many there are."""
    by_vendor: dict[str, list[str]] = {}
    for device in catalog.devices.values():
        by_vendor.setdefault(device.vendor, []).append(device.id)
    some = [name for names in by_vendor.values() for name in names[:per_vendor]]
    return f"{', '.join(some)} and {len(catalog.devices) - len(some)} more"


def this_machine(catalog: Catalog, *, free: bool = False) -> Machine:
    """This computer, with the catalog's figures for its device where the catalog has it."""
    from fmkit.hardware import detect  # noqa: PLC0415  looks at the machine only when the answer depends on it

    machine = detect()
    known = _known_device(machine, catalog)
    if known is not None:
        machine = msgspec.structs.replace(machine, device=known)
    if free and machine.free_bytes is not None:
        machine = msgspec.structs.replace(machine, usable_bytes=machine.free_bytes, reserve_reason="free now")
    return machine


def _known_device(machine: Machine, catalog: Catalog) -> Device | None:
    """The catalog's device that the detected one is: by the name its driver reports, else by the words that tell devices apart.

    One name is often cards with different memories, whose bandwidths differ too: a card with another memory than the catalog's is none of it.
    """
    if machine.device is None or machine.device.device_class == "cpu":
        return None
    reported = "-".join(machine.device.name.casefold().removeprefix("nvidia").split())
    named = catalog.devices.get(catalog.device_aliases.get(reported, reported))
    if named is not None and _has_memory_of(machine, named):
        return named
    found = _words(machine.device.name)
    same = [
        device
        for device in catalog.devices.values()
        if _words(device.name) == found and _has_memory_of(machine, device)
    ]
    return min(same, key=lambda device: abs((device.memory_bytes or 0) - machine.memory_bytes), default=None)


def _has_memory_of(machine: Machine, device: Device) -> bool:
    """Whether the memory that was found here may be that of the catalog's device.

    Drivers report from 93.7 % of it (T4, L4, A10, A40: error correction keeps the rest) to all of it. Of memory shared with the system, of which
    firmware and containers keep any part, all may be.
    """
    nominal_bytes = device.memory_bytes
    if nominal_bytes is None:
        return False
    return device.unified_memory or 0.9 * nominal_bytes <= machine.memory_bytes <= 1.02 * nominal_bytes


def _words(name: str) -> frozenset[str]:
    """The words of a device's name that tell devices apart: no vendor, no size.

    >>> sorted(_words("NVIDIA GeForce RTX 4090")), sorted(_words("GeForce RTX 4090 24GB"))
    (['4090', 'rtx'], ['4090', 'rtx'])
    """
    words = re.sub(r"\(.*?\)|,.*|\b\d+\s*gi?b\b", " ", name.casefold()).replace("-", " ").split()
    noise = {"nvidia", "geforce", "amd", "radeon", "intel", "apple", "graphics", "gpu"}
    return frozenset(word for word in words if word not in noise)


def _device_count(count: str, gpu: str) -> int:
    if not count:
        return 1
    if not count.isascii() or not count.isdigit() or len(count) > 9 or not 1 <= int(count) <= MOST_DEVICES:
        raise UsageError(
            f"can't read {gpu!r}: write a device and a count from 1 to {MOST_DEVICES:,}, such as h100-sxm5-80gb:8",
            where="--gpu",
        )
    return int(count)
