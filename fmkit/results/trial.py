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
    """Speed as measured, with the predicted range beside it (same units; None where it does not apply).

    `prefill_tokens_per_s` counts the prompt tokens of all sequences; it is there where the engine itself says it.
    `decode_tokens_per_s` is one sequence's, `throughput_tokens_per_s` that of all together, reading the prompt included (a server
    only). `load_s` is None where something else loaded the model.
    """

    load_s: float | None
    ttft_s: Sample | None
    decode_tokens_per_s: Sample | None
    predicted: dict[str, Any]
    throughput_tokens_per_s: Sample | None = None
    prefill_tokens_per_s: Sample | None = None


class EndpointServer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said of itself; None for what it does not say.

    `kind` is `vllm`, `sglang`, `tgi`, `llama.cpp`, `ollama`, `transformers` or `unknown`; `api` the interface that was used, `chat` or `completions`.
    `cache_tokens` is what its cache holds of all sequences together, `cache_usage_peak` the largest share of it seen in use (0 to 1);
    `weights_bytes` is the size of the tensors in its file; `max_context_tokens` the limit of one sequence; `token_count` whether tokens were counted by its `usage` or by the chunks that came.
    """

    address: str
    kind: str
    model_id: str
    version: str | None = None
    api: str | None = None
    token_count: str | None = None
    max_context_tokens: int | None = None
    slots: int | None = None
    weights_type: str | None = None
    weights_bytes: int | None = None
    cache_dtype: str | None = None
    cache_tokens: int | None = None
    cache_usage_peak: float | None = None
    memory_bytes: int | None = None
    device_memory_bytes: int | None = None


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit try` prints and stores.

    `predicted` and `measured` hold bytes by part: `weights`, `cache`, `activations`, `allocated_peak_bytes`, and for the
    measured also `process_peak_bytes`; `error` is (predicted - measured) / measured by part; `unaccounted_bytes` the
    part of the allocated peak that no prediction explains. Of a server (`server` is set) memory is known as far as it says; the
    rest is absent, and `unaccounted_bytes` None.
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
    unaccounted_bytes: int | None
    speed: TrialSpeed
    output: str
    checks: tuple[Check, ...]
    random_weights: bool
    warnings: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    server: EndpointServer | None = None


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
