"""What a device is, and a machine made of devices: numbers in, no detection (that is `fmkit.hardware`)."""

from __future__ import annotations

from typing import Literal

import msgspec


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accelerator, or one CPU class, as its vendor states it.

    `flops_per_s` holds dense peak rates by number format (`float16`, `bfloat16`, `float8`, `int8`, `float4`, `float32`);
    a format that is absent is unknown, not slow.
    """

    id: str
    name: str
    vendor: str
    device_class: Literal["consumer", "workstation", "datacentre", "integrated", "edge", "cpu"]
    memory_bytes: int | None
    bandwidth_bytes_per_s: int | None
    flops_per_s: dict[str, float] = {}
    memory_kind: str | None = None
    unified_memory: bool = False
    power_w: float | None = None
    release_year: int | None = None
    sources: dict[str, str] = {}
    verified: bool = True


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is to run: `count` equal devices, or this computer.

    `origin` says whether the figures are a catalog device's, were detected here, or are a bare `--memory` size.
    `usable_bytes` is what one device offers to a model after what system and driver keep; unknown is None.
    """

    name: str
    origin: Literal["catalog", "detected", "memory"]
    device: Device | None
    count: int
    memory_bytes: int
    usable_bytes: int
    free_bytes: int | None = None
    host_memory_bytes: int | None = None
    cpu_cores: int | None = None
    reserve_reason: str = ""
