"""What an engine is, as far as memory depends on it: catalog data (catalog/engines/<engine>.yaml)."""

from __future__ import annotations

from typing import Literal

import msgspec

from fmkit.model.quantised.loading import Held


class ErrorBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a measured part was from its prediction, as fractions of the prediction: measured in [low, high] * it.

    `part` is the first word of a line's part, or `peak` for the whole; `vendor` limits the bound to a kind of device.
    `measured_on` names the benchmark or document the two fractions come from.
    """

    part: str
    vendor: str | None = None
    low: float
    high: float
    measured_on: str


class RuntimeCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory the engine's runtime takes on a kind of device beside the model (driver context, workspaces)."""

    vendor: str
    bytes: int
    low_bytes: int
    high_bytes: int
    basis: Literal["measured", "assumed"]
    reason: str
    source: str


class StoredLoading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine makes of weights that a repository stores by one quantisation method, and what one has to know of it."""

    held: Held = "kept"
    plain_on_cpu: bool = False
    note: str | None = None


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine and the version its rules were read from and checked against.

    `layouts` maps a precision the user asks for to the id of the layout the engine makes of it; `stored_methods` are
    the quantisation methods (`quant_method`) whose repositories it loads. `kv_dtype_options` are the engine options
    that `--kv-dtype` sets, none where the cache follows the model; `divides` says in which ways its rules divide a
    model over devices: tensor, pipeline, expert.
    """

    id: str = ""
    name: str
    version: str
    layouts: dict[str, str]
    install: str
    stored_methods: dict[str, StoredLoading] = {}
    kv_dtype_options: tuple[str, ...] = ()
    divides: tuple[str, ...] = ()
    runtime: tuple[RuntimeCost, ...] = ()
    bounds: tuple[ErrorBound, ...] = ()
    sources: dict[str, str] = {}

    def bounds_of(self, part: str, vendor: str) -> tuple[float, float] | None:
        """Low and high of a part as factors of the prediction: those of the vendor before those of all; None where none are stated.

        >>> worst = ErrorBound(part="weights", low=1.0, high=1.01, measured_on="")
        >>> own = ErrorBound(part="weights", vendor="cpu", low=0.94, high=1.03, measured_on="")
        >>> engine = EngineSpec(name="", version="", layouts={}, install="", bounds=(worst, own))
        >>> engine.bounds_of("weights", "cpu"), engine.bounds_of("weights", "amd"), engine.bounds_of("cache", "amd")
        ((0.94, 1.03), (1.0, 1.01), None)
        """
        found = [bound for bound in self.bounds if bound.part == part and bound.vendor in (None, vendor)]
        best = next((bound for bound in found if bound.vendor == vendor), found[0] if found else None)
        return None if best is None else (best.low, best.high)
