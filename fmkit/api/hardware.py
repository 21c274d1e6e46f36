"""`fmkit hardware`: this machine as detected, and the devices of the catalog."""

from __future__ import annotations

from fmkit import __version__
from fmkit.api.kept_rates import kept_here
from fmkit.api.machines import resolve_device, this_machine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Device, device_reserve, recalled_figures
from fmkit.results.hardware import DeviceRow, DevicesResult, HardwareResult, MeasuredRate
from fmkit.speed.rates import MachineRates

DETECTED_ID = "this-machine"
"""The id that detection gives; anything else was found in the catalog."""


def show_hardware() -> HardwareResult:
    """This machine: what was detected, with the catalog's figures where it has the device."""
    catalog = load_catalog()
    machine = this_machine(catalog)
    device = machine.device
    rates = kept_here(machine)
    known = device is not None and device.id != DETECTED_ID
    return HardwareResult(
        fmkit=__version__,
        catalog=catalog.date,
        name=machine.name,
        device=device.id if device is not None and known else None,
        device_class=device.device_class if device is not None else None,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=machine.free_bytes,
        reserve_reason=machine.reserve_reason,
        host_memory_bytes=machine.host_memory_bytes,
        cpu_cores=machine.cpu_cores,
        cpu_formats=machine.cpu_formats,
        numa_nodes=machine.numa_nodes,
        disk=machine.disk,
        measured_on=rates.date if rates is not None else None,
        measured=_measured(rates) if rates is not None else (),
        warnings=rates.warnings if rates is not None else (),
        bandwidth_bytes_per_s=_bandwidth(device, rates),
        flops_per_s=device.flops_per_s if device is not None else {},
        age=catalog.age,
        next=("fmkit", "fmkit hardware list"),
    )


def _bandwidth(device: Device | None, rates: MachineRates | None) -> int | None:
    """The catalog's figure; of a processor that it doesn't have, what was measured."""
    if device is None:
        return None
    if device.bandwidth_bytes_per_s is None and device.device_class == "cpu" and rates is not None:
        return round(rates.copy_bytes_per_s)
    return device.bandwidth_bytes_per_s


def _measured(rates: MachineRates) -> tuple[MeasuredRate, ...]:
    """What was measured, in the order of `fmkit hardware measure`."""
    found: list[tuple[str, float | None, str]] = [
        ("main memory, read", rates.read_bytes_per_s, rates.date),
        ("main memory, copy (read + written)", rates.copy_bytes_per_s, rates.date),
    ]
    if rates.disk_read_bytes_per_s is not None:
        found.append(("disk of the models, read", rates.disk_read_bytes_per_s, rates.date))
    for torch in rates.torch:
        date = torch.date or rates.date
        found.append((f"torch {torch.version} on {torch.device}, copy inside its memory", torch.copy_bytes_per_s, date))
        if torch.host_to_device_bytes_per_s is not None:
            found.append((f"copy from main memory to {torch.device}", torch.host_to_device_bytes_per_s, date))
    if rates.llama_cpp is not None:
        found.append(
            (f"kernels of llama.cpp (xllamacpp {rates.llama_cpp.version})", None, rates.llama_cpp.date or rates.date)
        )
    return tuple(MeasuredRate(name=name, bytes_per_s=rate, date=date) for name, rate, date in found)


def list_devices(vendor: str | None = None) -> DevicesResult:
    """The catalog's devices, of one vendor or of all, smallest memory first; UsageError for a vendor that none is of."""
    catalog = load_catalog()
    wanted = vendor.strip().casefold() if vendor is not None else None
    vendors = sorted({device.vendor for device in catalog.devices.values()})
    if vendor is not None and wanted not in vendors:
        raise UsageError.unknown("vendor", vendor, vendors, where="--vendor", next_command="fmkit hardware list")
    chosen = [device for device in catalog.devices.values() if wanted in (None, device.vendor)]
    ordered = sorted(chosen, key=lambda device: (device.vendor, device.memory_bytes or 0, device.id))
    return DevicesResult(fmkit=__version__, catalog=catalog.date, devices=tuple(map(_row, ordered)), age=catalog.age)


def show_device(name: str) -> DevicesResult:
    """One device of the catalog, by id or alias; UsageError with the nearest where there is none."""
    catalog = load_catalog()
    row = _row(resolve_device(name, catalog, where="DEVICE"))
    return DevicesResult(fmkit=__version__, catalog=catalog.date, devices=(row,), age=catalog.age)


def _row(device: Device) -> DeviceRow:
    memory_bytes = device.memory_bytes
    reserve = None if memory_bytes is None else device_reserve(device, memory_bytes)
    return DeviceRow(
        id=device.id,
        name=device.name,
        vendor=device.vendor,
        device_class=device.device_class,
        memory_bytes=memory_bytes,
        usable_bytes=None if memory_bytes is None or reserve is None else memory_bytes - reserve.bytes,
        reserve_reason="" if reserve is None else reserve.reason,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        flops_per_s=device.flops_per_s,
        link_devices=device.link_devices,
        verified=device.verified,
        sources=device.sources,
        recalled=recalled_figures(device.sources),
    )
