"""The answer of `fmkit vram`: schema fmkit.vram/1."""

from __future__ import annotations

import msgspec

from fmkit.sizing.estimate import Fit, MemoryEstimate
from fmkit.speed.estimate import SpeedEstimate


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it was understood, and how sure we are of its architecture."""

    ref: str
    hub_id: str | None
    revision: str | None
    architecture: str
    kind: str
    params: int | None
    active_params: int | None
    max_context_tokens: int | None
    licence: str | None
    config_confidence: str | None = None
    config_source: str | None = None
    notes: tuple[str, ...] = ()


class MachineSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The machine the answer is for; `usable_bytes` is what one device offers to a model."""

    name: str
    origin: str
    device: str | None
    count: int
    memory_bytes: int
    usable_bytes: int
    free_bytes: int | None
    source: str | None


class Estimate(MemoryEstimate, frozen=True, kw_only=True):
    """A memory estimate with the speed expected beside it."""

    speed: SpeedEstimate | None = None


class ApiFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a closed API model instead of a size."""

    provider: str
    input_usd_per_1m: float | None
    output_usd_per_1m: float | None
    cached_input_usd_per_1m: float | None
    context_tokens: int | None
    max_output_tokens: int | None
    status: str
    source: str
    price_date: str | None


class VramResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit vram` prints. `api` is set instead of `estimates` for a model that only an API offers."""

    schema: str = "fmkit.vram/1"
    fmkit: str
    catalog: str
    model: ModelSummary
    machine: MachineSummary | None
    verdict: str
    estimates: tuple[Estimate, ...]
    fit: Fit | None = None
    api: ApiFacts | None = None
    warnings: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
