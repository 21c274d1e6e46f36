"""The answers of `fmkit hardware`: schemas fmkit.hardware/1, fmkit.devices/1 and fmkit.measure/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge
from fmkit.speed.rates import DiskKind, MachineRates


class MeasuredRate(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured on this machine, and when; `bytes_per_s` is None for calls that were timed in many shapes."""

    name: str
    bytes_per_s: float | None
    date: str


class HardwareResult(msgspec.Struct, frozen=True, kw_only=True):
    """This machine as it was detected; unknown is None.

    `device` is the catalog's id of the accelerator or processor where the catalog has it, whose bandwidth and rates are then
    the catalog's figures. `cpu_formats` are number formats that the processor has instructions for, `numa_nodes` the memories that this
    process may take from. `measured` is what `fmkit hardware measure` kept, `measured_on` the date of the last time, and `warnings` what made that
    doubtful; a processor's bandwidth is the measured one. `usable_bytes` is what one device offers a model, less what `reserve_reason` says.
    """

    schema: str = "fmkit.hardware/1"
    fmkit: str
    catalog: str
    name: str
    device: str | None
    device_class: str | None
    count: int
    memory_bytes: int
    usable_bytes: int
    free_bytes: int | None
    reserve_reason: str
    host_memory_bytes: int | None
    cpu_cores: int | None
    cpu_formats: tuple[str, ...] = ()
    numa_nodes: int | None = None
    disk: DiskKind | None = None
    measured_on: str | None = None
    measured: tuple[MeasuredRate, ...] = ()
    warnings: tuple[str, ...] = ()
    bandwidth_bytes_per_s: int | None
    flops_per_s: dict[str, float]
    age: CatalogAge = CatalogAge()
    next: tuple[str, ...] = ()


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device of the catalog; `verified` is False where a figure was recalled rather than read or comes from a secondary source.

    `recalled` are the keys of `sources` whose figures were recalled; `reserve_reason` is why not all memory is usable. `link_devices` of them are joined by a link of their own, 1: none.
    """

    id: str
    name: str
    vendor: str
    device_class: str
    memory_bytes: int | None
    usable_bytes: int | None
    bandwidth_bytes_per_s: int | None
    flops_per_s: dict[str, float]
    verified: bool
    sources: dict[str, str]
    recalled: tuple[str, ...] = ()
    reserve_reason: str = ""
    link_devices: int = 1


class DevicesResult(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of the catalog."""

    schema: str = "fmkit.devices/1"
    fmkit: str
    catalog: str
    devices: tuple[DeviceRow, ...]
    age: CatalogAge = CatalogAge()


class MeasureResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `fmkit hardware measure` found; `kept_in` is the file that later estimates read it from, None if it was not kept.

    `not_kept` is why, where nobody asked for that.
    """

    schema: str = "fmkit.measure/1"
    fmkit: str
    rates: MachineRates
    kept_in: str | None
    not_kept: str | None = None
    next: tuple[str, ...] = ()
