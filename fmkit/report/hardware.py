"""What `fmkit hardware` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import bytes_or_unknown, csv_text, of_catalog, print_next, print_records, print_table, say
from fmkit.speed.rates import DISK_NAMES
from fmkit.units import format_bytes, number_of

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.hardware import DeviceRow, DevicesResult, HardwareResult

CSV_COLUMNS = (
    "id",
    "name",
    "vendor",
    "device_class",
    "memory_bytes",
    "usable_bytes",
    "bandwidth_bytes_per_s",
    "verified",
)


def print_hardware(result: HardwareResult, console: Console) -> None:
    """Draw this machine."""
    each = " each" if result.count > 1 else ""
    say(console, result.name, style="bold")
    rows = [
        ["memory", f"{format_bytes(result.memory_bytes)}{each}"],
        ["usable", f"{format_bytes(result.usable_bytes)}{each}: {result.reserve_reason}"],
        ["free now", bytes_or_unknown(result.free_bytes)],
        ["main memory", bytes_or_unknown(result.host_memory_bytes)],
        ["CPU cores", "unknown" if result.cpu_cores is None else str(result.cpu_cores)],
        ["CPU formats", ", ".join(result.cpu_formats) or "unknown"],
        ["memory nodes", "unknown" if result.numa_nodes is None else str(result.numa_nodes)],
        ["disk of the models", DISK_NAMES[result.disk].removeprefix("a ").removeprefix("an ")],
        ["bandwidth", _bandwidth(result)],
        ["catalog device", result.device or _without_device(result)],
        *_measured(result),
    ]
    print_table(console, ["", ""], rows, indent=2)
    for warning in result.warnings:
        say(console, f"note: when it was measured: {warning}")
    say(console, of_catalog(result.catalog, result.age), style="dim")
    print_next(result.next, console)


def _bandwidth(result: HardwareResult) -> str:
    found = format_bandwidth(result.bandwidth_bytes_per_s)
    if result.device_class != "cpu" or result.device is not None:
        return found
    return f"{found}, measured" if result.measured_on else "unknown: assumed from its cores until it is measured"


def _measured(result: HardwareResult) -> list[list[str]]:
    """What was measured, each with its date; what made it doubtful at the end."""
    if not result.measured:
        return [["measured", "never: fmkit hardware measure"]]
    rows = [
        f"{one.name}{'' if one.bytes_per_s is None else f', {one.bytes_per_s / 1e9:.3g} GB/s'} ({one.date})"
        for one in result.measured
    ]
    return [["measured" if not index else "", row] for index, row in enumerate(rows)]


def _without_device(result: HardwareResult) -> str:
    if result.device_class == "cpu":
        return "none: what was not measured of its rates is assumed from its cores"
    return "none: no speed is predicted without its bandwidth; name the card with --gpu (fmkit hardware list)"


def print_devices(result: DevicesResult, console: Console) -> None:
    """Draw the catalog's devices; `?` marks one with a figure that was recalled or comes from a secondary source."""
    header = ["id", "memory", "usable", "bandwidth", "name"]
    rows = []
    for device in result.devices:
        memory = "-" if device.memory_bytes is None else format_bytes(device.memory_bytes)
        usable = "-" if device.usable_bytes is None else format_bytes(device.usable_bytes)
        mark = "" if device.verified else " ?"
        bandwidth = f"{format_bandwidth(device.bandwidth_bytes_per_s)}{mark or '  '}"
        rows.append([device.id, memory, usable, bandwidth, device.name])
    print_records(console, header, rows, order=[0, 1, 3, 2, 4], right=[1, 2, 3])
    if any(not device.verified for device in result.devices):
        say(console, "? a figure of this device was recalled rather than read, or comes from a secondary source")
    say(console, f"{number_of(len(result.devices), 'device')}, {of_catalog(result.catalog, result.age)}")


def print_device(result: DevicesResult, console: Console) -> None:
    """Draw one device of the catalog: each fact and where it was read."""
    device = result.devices[0]
    say(console, f"{device.name} ({device.id})", style="bold")
    rates = [
        _figure(device, number_format, f"{rate / 1e12:,.6g} TFLOPS", f"tflops.{number_format}", "tflops")
        for number_format, rate in device.flops_per_s.items()
    ]
    rows = [
        ["vendor", device.vendor, ""],
        ["class", device.device_class, ""],
        _figure(device, "memory", bytes_or_unknown(device.memory_bytes), "memory"),
        ["usable", bytes_or_unknown(device.usable_bytes), device.reserve_reason],
        _figure(device, "bandwidth", format_bandwidth(device.bandwidth_bytes_per_s), "bandwidth_gb_s"),
        *(
            [_figure(device, "link", f"joins {device.link_devices} of them", "link_devices")]
            if device.link_devices > 1
            else []
        ),
        *rates,
    ]
    print_table(console, ["fact", "value", "source"], rows, indent=2)
    if device.recalled:
        say(console, "note: what is marked was recalled rather than read")
    elif not device.verified:
        say(console, "note: a figure of this device comes from a secondary source")
    say(console, of_catalog(result.catalog, result.age), style="dim")


def _figure(device: DeviceRow, name: str, value: str, *keys: str) -> list[str]:
    """A figure with the first source that is named for it, marked where it was recalled."""
    key = next((key for key in keys if key in device.sources), "")
    return [name, f"{value} (recalled)" if key in device.recalled else value, device.sources.get(key, "")]


def format_bandwidth(bytes_per_s: int | None) -> str:
    """A memory bandwidth as vendors state it, in decimal GB/s.

    >>> format_bandwidth(1_008_000_000_000), format_bandwidth(None)
    ('1,008 GB/s', 'unknown')
    """
    return "unknown" if bytes_per_s is None else f"{bytes_per_s / 1e9:,.0f} GB/s"


def devices_csv(result: DevicesResult) -> str:
    """One line per device."""
    return csv_text(CSV_COLUMNS, ([getattr(device, column) for column in CSV_COLUMNS] for device in result.devices))
