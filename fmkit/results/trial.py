"""The answer of `fmkit try`: schema fmkit.trial/1."""

from __future__ import annotations

from typing import Any

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A repeated measurement: mean, standard deviation and number of repeats."""

    mean: float
    sd: float
    n: int


class EngineVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The engine that ran, and the versions of what it rests on."""

    name: str
    version: str
    libraries: dict[str, str] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One smoke check. `passed` None means that it does not apply, and `detail` says why."""

    name: str
    passed: bool | None
    value: float | None
    threshold: float | None
    detail: str


class TrialSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """Speed as measured, with the predicted range beside it (same units; None where it does not apply)."""

    load_s: float
    ttft_s: Sample | None
    decode_tokens_per_s: Sample | None
    predicted: dict[str, Any]


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit try` prints and stores.

    `predicted` and `measured` hold bytes by part: `weights`, `cache`, `activations`, `allocated_peak_bytes`, and for the
    measured also `process_peak_bytes`; `error` is (predicted - measured) / measured by part; `unaccounted_bytes` the
    part of the allocated peak that no prediction explains.
    """

    schema: str = "fmkit.trial/1"
    fmkit: str
    catalog: str
    id: str
    date: str
    model: str
    hub_id: str | None
    engine: EngineVersion
    machine: dict[str, Any]
    workload: dict[str, Any]
    precision: str
    predicted: dict[str, int]
    measured: dict[str, int]
    error: dict[str, float]
    unaccounted_bytes: int
    speed: TrialSpeed
    output: str
    checks: tuple[Check, ...]
    random_weights: bool
    warnings: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A workload of a sweep that gave no result, and why; no context means that the precision could not be loaded at all."""

    precision: str
    context_tokens: int | None = None
    sequences: int | None = None
    reason: str


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """Several workloads of one model: the single results, and what could not be measured."""

    schema: str = "fmkit.sweep/1"
    fmkit: str
    date: str
    model: str
    trials: tuple[TrialResult, ...]
    failed: tuple[Unmeasured, ...] = ()
