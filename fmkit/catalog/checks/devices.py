"""Devices: the kind of memory against its bus, bandwidth and class; rates against each other and against what their source works out."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from fmkit.catalog.checks.arithmetic import rate_written
from fmkit.catalog.faults import Fault
from fmkit.errors import UsageError
from fmkit.machine import recalled_figures
from fmkit.units import GIB, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.schema import DeviceEntry


class MemoryKind(NamedTuple):
    """What was sold of a kind of memory: bandwidths, widths of the bus, Gbit/s on a pin, classes of device, and GiB on 1,024 bits.

    The fastest pins are less than twice as fast as the slowest, nearly everywhere: a bandwidth halved or doubled falls out. 1,024
    bits are one stack of HBM, or 32 chips of GDDR, on one side of the board or on both.
    """

    bandwidth_gb_s: tuple[float, float]
    bus_bits: tuple[int, int]
    pin_gbit_s: tuple[float, float]
    classes: tuple[str, ...]
    gib_per_1024_bits: tuple[float, float] | None = None


_CARDS = ("consumer", "workstation", "datacentre")
_SHARED = ("integrated", "edge", "cpu")
_MEMORY = {
    "DDR4": MemoryKind((15, 410), (64, 1024), (2.1, 3.2), _SHARED),
    "DDR5": MemoryKind((30, 850), (64, 1024), (4.4, 8.8), _SHARED),
    "LPDDR4X": MemoryKind((15, 140), (64, 256), (3.2, 4.3), _SHARED),
    "LPDDR5": MemoryKind((25, 820), (64, 1024), (5.5, 6.4), _SHARED),
    "LPDDR5X": MemoryKind((60, 1100), (64, 1024), (7.4, 10.7), _SHARED),
    "GDDR5": MemoryKind((60, 400), (64, 512), (5.0, 9.0), _CARDS, (8, 64)),
    "GDDR5X": MemoryKind((200, 600), (128, 384), (10.0, 12.0), _CARDS, (16, 64)),
    "GDDR6": MemoryKind((90, 1000), (64, 512), (11.9, 20.2), _CARDS, (16, 128)),
    "GDDR6X": MemoryKind((350, 1100), (128, 384), (18.5, 24.0), _CARDS, (32, 128)),
    "GDDR7": MemoryKind((250, 2200), (96, 512), (24.0, 36.0), _CARDS, (32, 192)),
    "HBM2": MemoryKind((250, 1700), (1024, 6144), (1.4, 2.5), ("workstation", "datacentre"), (4, 8)),
    "HBM2e": MemoryKind((400, 3800), (1024, 8192), (2.4, 3.8), ("workstation", "datacentre"), (8, 16)),
    "HBM3": MemoryKind((800, 6000), (1024, 8192), (4.8, 6.6), ("datacentre",), (16, 24)),
    "HBM3e": MemoryKind((1000, 10000), (1024, 8192), (5.8, 9.8), ("datacentre",), (22, 36)),
    "HBM4": MemoryKind((1500, 24000), (2048, 24576), (6.4, 13.0), ("datacentre",), (32, 64)),
}
"""A new kind is added here. GDDR6 at 10 Gbit/s was sold too: a source that works the bandwidth out may go below the range."""

_ROUNDING = 0.03
_NOMINAL = 0.08
"""GB for GiB, and stacks of which a part is off."""

_WHOLE_POWERS = {
    "bfloat16": (1,),
    "float8": (2,),
    "int8": (1, 2, 4),
    "int4": (2, 4, 8),
    "float4": (4, 8),
}
"""How many times the dense rate of float16 a unit reaches in another format."""

_MEMORY_SIZE = re.compile(r"-\d+gb$")
_SIBLING_FACTOR = 1.7
"""One name was sold with a part of its units: the Jetson AGX Orin with 64 GB has 1.61 times the float32 rate of that with 32."""


def memory(facts: Facts) -> Iterator[Fault]:
    """A kind of memory that is none, or not one of its class, bus or bandwidth."""
    for file, path, entry in facts.devices():
        if entry.memory_kind is None:
            continue
        kind = _MEMORY.get(entry.memory_kind)
        if kind is None:
            yield Fault(file, f"{path}.memory_kind", f"{entry.memory_kind!r} is none of {', '.join(_MEMORY)}")
            continue
        if entry.device_class not in kind.classes:
            message = f"{entry.memory_kind} is not sold on {entry.device_class} devices ({', '.join(kind.classes)}): correct the kind or the class"
            yield Fault(file, f"{path}.memory_kind", message)
        yield from _bandwidth(entry, kind, file, path)
        yield from _capacity(entry, kind, file, path)


def _capacity(entry: DeviceEntry, kind: MemoryKind, file: str, path: str) -> Iterator[Fault]:
    if entry.memory is None or entry.bus_bits is None or kind.gib_per_1024_bits is None:
        return
    try:
        size = parse_size(entry.memory)
    except UsageError:
        return  # told by the rule of sizes
    (low, high), each = kind.gib_per_1024_bits, size / GIB / entry.bus_bits * 1024
    if not low * (1 - _NOMINAL) <= each <= high * (1 + _NOMINAL):
        message = (
            f"{entry.memory} on {entry.bus_bits} bits are {each:.1f} GiB for 1,024 bits of {entry.memory_kind}, sold are {low:g} to {high:g}: "
            "correct memory, bus or kind"
        )
        yield Fault(file, f"{path}.memory", message)


def _bandwidth(entry: DeviceEntry, kind: MemoryKind, file: str, path: str) -> Iterator[Fault]:
    if entry.bus_bits is not None and not kind.bus_bits[0] <= entry.bus_bits <= kind.bus_bits[1]:
        message = f"{entry.bus_bits} bits is no bus of {entry.memory_kind} ({kind.bus_bits[0]} to {kind.bus_bits[1]}): correct the bus or memory_kind"
        yield Fault(file, f"{path}.bus_bits", message)
        return
    if entry.bandwidth_gb_s is None:
        return
    place = f"{path}.bandwidth_gb_s"
    low, high = kind.bandwidth_gb_s
    if not low <= entry.bandwidth_gb_s <= high:
        yield Fault(
            file, place, f"{entry.bandwidth_gb_s:g} GB/s is no bandwidth of {entry.memory_kind} ({low:g} to {high:g})"
        )
        return
    written = rate_written(entry.sources.get("bandwidth_gb_s", ""))
    if written is not None:
        if abs(entry.bandwidth_gb_s * 1e9 / written - 1) > _ROUNDING:
            yield Fault(
                file,
                place,
                f"{entry.bandwidth_gb_s:g} GB/s, but its source works out {written / 1e9:,.1f}: correct the one or the other",
            )
    elif entry.bus_bits is not None:
        pin = entry.bandwidth_gb_s * 8 / entry.bus_bits
        low, high = kind.pin_gbit_s
        if not low * (1 - _ROUNDING) <= pin <= high * (1 + _ROUNDING):
            message = (
                f"{entry.bandwidth_gb_s:g} GB/s over {entry.bus_bits} bits are {pin:.1f} Gbit/s a pin, {entry.memory_kind} has {low:g} to {high:g}: "
                "correct bandwidth, bus or kind, or work it out in its source"
            )
            yield Fault(file, place, message)


def rates(facts: Facts) -> Iterator[Fault]:
    """Rates that do not go together: one with sparsity among dense ones, a format that is not a whole power of two faster, a result that is another."""
    for file, path, entry in facts.devices():
        yield from _vector(entry, file, path)
        half = entry.tflops.get("float16")
        if not half:
            continue
        for number_format, powers in _WHOLE_POWERS.items():
            rate = entry.tflops.get(number_format)
            own_source = f"tflops.{number_format}" in entry.sources or "tflops.float16" in entry.sources
            if rate is None or own_source or any(abs(rate / half / power - 1) <= _ROUNDING for power in powers):
                continue
            message = (
                f"{rate:g} TFLOPS are {rate / half:.2f} times the {half:g} of float16, expected {' or '.join(map(str, powers))}: dense rates only; "
                f"if it is so, give it a source of its own (sources.tflops.{number_format})"
            )
            yield Fault(file, f"{path}.tflops.{number_format}", message)
        written = rate_written(_product(entry))
        if written is not None and abs(half * 1e12 / written - 1) > _ROUNDING:
            message = f"{half:g} TFLOPS, but its source works out {written / 1e12:,.1f}: a rate with sparsity is twice the dense one; correct the one or the other"
            yield Fault(file, f"{path}.tflops.float16", message)


def _vector(entry: DeviceEntry, file: str, path: str) -> Iterator[Fault]:
    """A rate of vector units that is not the product its source writes out."""
    rate, written = entry.tflops.get("vector"), rate_written(entry.sources.get("tflops.vector", ""))
    if rate is not None and (written is None or abs(rate * 1e12 / written - 1) > _ROUNDING):
        worked_out = "nothing" if written is None else f"{written / 1e12:.4g}"
        message = f"{rate:g} TFLOPS, but its source works out {worked_out}: write cores x MHz x FLOP a clock"
        yield Fault(file, f"{path}.tflops.vector", message)


def _product(entry: DeviceEntry) -> str:
    """Where the rate of float16 is worked out."""
    return next(
        (entry.sources[key] for key in ("tflops_product", "tflops.float16", "tflops") if key in entry.sources), ""
    )


def recalled(facts: Facts) -> Iterator[Fault]:
    """A device that is said to be verified, while the source of its memory, bandwidth or a rate says that it was recalled."""
    for file, path, entry in facts.devices():
        figures = [key for key in recalled_figures(entry.sources) if key != "link_devices"]
        if entry.verified and figures:
            message = f"true, but the source of {' and '.join(figures)} says recalled: write verified: false, or name where it was read"
            yield Fault(file, f"{path}.verified", message)


def siblings(facts: Facts) -> Iterator[Fault]:
    """A bandwidth or rate far from that of the same device with another memory size."""
    kin: dict[str, list[tuple[str, str, DeviceEntry]]] = defaultdict(list)
    for file, path, entry in facts.devices():
        kin[_MEMORY_SIZE.sub("", path)].append((file, path, entry))
    for members in kin.values():
        for number_format in {name for _, _, entry in members for name in entry.tflops}:
            known = [
                (file, f"{path}.tflops.{number_format}", entry.tflops.get(number_format))
                for file, path, entry in members
            ]
            yield from _far_from_siblings(known, "TFLOPS")
        yield from _far_from_siblings(
            [(file, f"{path}.bandwidth_gb_s", e.bandwidth_gb_s) for file, path, e in members], "GB/s"
        )


def _far_from_siblings(found: list[tuple[str, str, float | None]], unit: str) -> Iterator[Fault]:
    known = [(file, path, figure) for file, path, figure in found if figure]
    for file, path, figure in known:
        others = [other for _, place, other in known if place != path]
        if others and not 1 / _SIBLING_FACTOR <= figure / median(others) <= _SIBLING_FACTOR:
            message = f"{figure:g} {unit}, while the same device with other memory has {median(others):g}: look it up"
            yield Fault(file, path, message)


RULES = (memory, rates, recalled, siblings)
