"""The answers of `fmkit hardware`: schemas fmkit.hardware/1, fmkit.devices/1 and fmkit.measure/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge
from fmkit.speed.rates import DiskKind, MachineRates


class HardwareResult(msgspec.Struct, frozen=True, kw_only=True):
    """This machine as it was detected; unknown is None.

    `device` is the catalog's id of the accelerator or processor where the catalog has it, whose bandwidth and rates are then
    the catalog's figures. `cpu_formats` are number formats that the processor has instructions for, `numa_nodes` the memories that this
    process may take from, `measured_on` the date of the rates kept by `fmkit hardware measure`. `usable_bytes` is what one device offers a model, less what `reserve_reason` says.
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
    bandwidth_bytes_per_s: int | None
    flops_per_s: dict[str, float]
    age: CatalogAge = CatalogAge()
    next: tuple[str, ...] = ()


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device of the catalog; `verified` is False where a figure was recalled rather than read, `reserve_reason` is why not all memory is usable."""

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
    reserve_reason: str = ""


class DevicesResult(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of the catalog."""

    schema: str = "fmkit.devices/1"
    fmkit: str
    catalog: str
    devices: tuple[DeviceRow, ...]
    age: CatalogAge = CatalogAge()


class MeasureResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `fmkit hardware measure` found; `kept_in` is the file that later estimates read it from, None if it was not kept."""

    schema: str = "fmkit.measure/1"
    fmkit: str
    rates: MachineRates
    kept_in: str | None
    next: tuple[str, ...] = ()
