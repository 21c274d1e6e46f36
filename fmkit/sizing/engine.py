"""What an engine is, as far as memory depends on it: catalog data (catalog/engines/<engine>.yaml)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.model.quantised.loading import Held

if TYPE_CHECKING:
    from fmkit.machine import Device


class ErrorBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a measured part was from its prediction, as fractions of the prediction: measured in [low, high] * it.

    `part` is a line's whole part or its first word, or `peak` for the whole; `vendor` limits the bound to a kind of device.
    `measured_on` names the benchmark or document the two fractions come from.
    """

    part: str
    vendor: str | None = None
    low: float
    high: float
    measured_on: str


class RuntimeCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory the engine's runtime takes on a kind of device beside the model (driver context, workspaces).

    `beside_share` is scratch that comes on top, in bytes per byte of cache and activations.
    """

    vendor: str
    bytes: int
    low_bytes: int
    high_bytes: int
    basis: Literal["measured", "assumed"]
    reason: str
    source: str
    beside_share: float = 0.0


class StoredLoading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine makes of weights that a repository stores by one quantisation method, and what one has to know of it."""

    held: Held = "kept"
    plain_on_cpu: bool = False
    note: str | None = None


class NotOn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that the engine does not run on: all of a vendor, or those of the catalog with these ids, and why."""

    vendor: str | None = None
    devices: tuple[str, ...] = ()
    reason: str


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One engine and the version its rules were read from and checked against.

    `layouts` maps a precision the user asks for to the id of the layout the engine makes of it; `stored_methods` are
    the quantisation methods (`quant_method`) whose repositories it loads. `kv_dtype_options` are the engine options
    that `--kv-dtype` sets, none where the cache follows the model; `divides` says in which ways its rules divide a
    model over devices: tensor, pipeline, expert. It runs on all devices that `not_on` does not name.
    """

    id: str = ""
    name: str
    version: str
    layouts: dict[str, str]
    install: str
    stored_methods: dict[str, StoredLoading] = {}
    kv_dtype_options: tuple[str, ...] = ()
    divides: tuple[str, ...] = ()
    not_on: tuple[NotOn, ...] = ()
    runtime: tuple[RuntimeCost, ...] = ()
    bounds: tuple[ErrorBound, ...] = ()
    sources: dict[str, str] = {}

    def why_not_on(self, device: Device | None) -> str | None:
        """Why the engine does not run on the device; None where it does, and for a bare size, of which nothing is known.

        >>> from fmkit.machine import Device
        >>> engine = EngineSpec(name="E", version="", layouts={}, install="", not_on=(NotOn(vendor="v", reason="no driver"),))
        >>> engine.why_not_on(Device(id="x", name="X", vendor="v", device_class="edge", memory_bytes=1, bandwidth_bytes_per_s=None))
        'E does not run on X: no driver'
        """
        if device is None:
            return None
        for found in self.not_on:
            if device.vendor == found.vendor or device.id in found.devices:
                return f"{self.name} does not run on {device.name}: {found.reason}"
        return None

    def bounds_of(self, part: str, vendor: str) -> tuple[float, float] | None:
        """Low and high of a part as factors of the prediction: those of the vendor before those of all; None where none are stated.

        >>> worst = ErrorBound(part="weights", low=1.0, high=1.01, measured_on="")
        >>> own = ErrorBound(part="weights", vendor="cpu", low=0.94, high=1.03, measured_on="")
        >>> engine = EngineSpec(name="", version="", layouts={}, install="", bounds=(worst, own))
        >>> engine.bounds_of("weights", "cpu"), engine.bounds_of("weights", "amd"), engine.bounds_of("cache", "amd")
        ((0.94, 1.03), (1.0, 1.01), None)
        """
        return self._ranges.get((part, vendor)) or self._ranges.get((part, None))

    def part_ranges(self, vendor: str) -> PartRanges:
        """Low and high of lines by their whole part, on a vendor's devices."""
        found = self._by_vendor.get(vendor)
        if found is None:
            found = self._by_vendor[vendor] = PartRanges(self, vendor)
        return found

    def runtime_on(self, vendor: str) -> RuntimeCost | None:
        """What its runtime takes on a vendor's devices; None where that is not stated."""
        return next((cost for cost in self.runtime if cost.vendor == vendor), None)

    @cached_property
    def _by_vendor(self) -> dict[str, PartRanges]:
        return {}

    @cached_property
    def _ranges(self) -> dict[tuple[str, str | None], tuple[float, float]]:
        """Low and high by part and vendor; the first that is stated counts."""
        return {(bound.part, bound.vendor): (bound.low, bound.high) for bound in reversed(self.bounds)}


class PartRanges(dict[str, tuple[float, float]]):
    """Low and high by the part of a line (`cache: full attention`), looked up by its kind when a part is first asked for.

    The runtime's own range counts where its part has no error of its own; a part without either is taken to be exact.
    """

    def __init__(self, engine: EngineSpec, vendor: str) -> None:
        super().__init__()
        self._engine = engine
        self._vendor = vendor

    def __missing__(self, part: str) -> tuple[float, float]:
        kind = part.partition(":")[0]
        found = self._engine.bounds_of(part, self._vendor) or self._engine.bounds_of(kind, self._vendor)
        cost = self._engine.runtime_on(self._vendor)
        if found is None and kind == "runtime" and cost is not None and cost.bytes:
            found = (cost.low_bytes / cost.bytes, cost.high_bytes / cost.bytes)
        self[part] = found = found or (1.0, 1.0)
        return found
