"""The answer of `fmkit try`: schema fmkit.trial/1."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from fmkit.results.trial_setting import TrialMachine, TrialWorkload

FEWEST_FOR_OUTLIERS = 5
FAR = 3.5


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A repeated measurement: mean, standard deviation and number of repeats, all of them; `outliers` of these lie far from the others."""

    mean: float
    sd: float
    n: int
    outliers: int = 0


def sample(values: Sequence[float]) -> Sample | None:
    """Mean and sample standard deviation (0 for a single value) of repeated measurements; None where there are none.

    >>> sample([1.0, 2.0, 3.0])
    Sample(mean=2.0, sd=1.0, n=3, outliers=0)
    """
    if not values:
        return None
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    deviation = (spread / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
    return Sample(mean=mean, sd=deviation, n=len(values), outliers=_outliers(values))


def _outliers(values: Sequence[float]) -> int:
    """How many lie far from the median, in units of the median deviation, where there are enough of them to say so.

    Source: Iglewicz and Hoaglin 1993, modified z-score above 3.5: 0.6745 of the distance in median deviations.

    >>> _outliers([1.0, 1.1, 0.9, 1.0, 9.0]), _outliers([1.0, 1.1, 9.0])
    (1, 0)
    """
    if len(values) < FEWEST_FOR_OUTLIERS:
        return 0
    centre = median(values)
    typical = median(abs(value - centre) for value in values)
    return sum(0.6745 * abs(value - centre) > FAR * typical for value in values) if typical else 0


class EngineVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The engine that ran, and the versions of what it rests on."""

    name: str
    version: str
    libraries: dict[str, str] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `passed` None means that it does not apply, and `detail` says why.

    `reason` says why the threshold is what it is and `source` where it comes from; `data` holds what a value was made of, such as the
    answer at each depth and length of the needle.
    """

    name: str
    passed: bool | None
    value: float | None
    threshold: float | None
    detail: str
    reason: str = ""
    source: str = ""
    data: dict[str, Any] = {}


class CheckInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a check asks, and where its threshold comes from; `quick` ones run unless others are named."""

    name: str
    question: str
    reason: str
    source: str
    quick: bool
    needs: str = ""


class CheckList(msgspec.Struct, frozen=True, kw_only=True):
    """Every check that `fmkit try --checks` takes."""

    schema: str = "fmkit.checks/1"
    checks: tuple[CheckInfo, ...]


class InputsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of many inputs: how many were answered now, before (in a run that this one went on from) and not at all.

    Rates are means over consecutive parts of the run with their deviation; tokens are those of the texts read and those generated.
    `equal_share` is the share of answers equal to their `reference`, `word_error_rate` over all transcripts together.
    """

    answered: int
    before: int
    failed: int
    inputs_per_s: Sample | None = None
    input_tokens_per_s: Sample | None = None
    output_tokens_per_s: Sample | None = None
    equal_share: float | None = None
    word_error_rate: float | None = None
    output_file: str | None = None


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
    `weights_bytes` is the size of the tensors in its file; `max_context_tokens` the limit of one sequence; `vocabulary` its number of tokens; `token_count` whether tokens were counted by its `usage` or by the chunks that came.
    """

    address: str
    kind: str
    model_id: str
    version: str | None = None
    api: str | None = None
    token_count: str | None = None
    max_context_tokens: int | None = None
    vocabulary: int | None = None
    slots: int | None = None
    weights_type: str | None = None
    weights_bytes: int | None = None
    cache_dtype: str | None = None
    cache_tokens: int | None = None
    cache_usage_peak: float | None = None
    memory_bytes: int | None = None
    device_memory_bytes: int | None = None


class MemoryLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The limit that a trial ran under, and what held it.

    `means` are, in the order of their strength: `cgroup` (the kernel counts all memory of the processes), `rlimit-data` (the kernel counts
    private memory, from the end of the warm-up on), `watch` (resident memory is read 100 times a second, and the processes killed above
    the limit), `cuda-allocator` (PyTorch's allocator gives out no more, on each device).
    """

    limit_bytes: int
    means: tuple[str, ...]
    covers: str


class RankResult(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a model divided over several: its share as predicted and measured, in the parts of a TrialResult.

    The prediction is that of the first rank, who holds most where something does not divide evenly.
    """

    rank: int
    host: str
    device: str
    predicted: dict[str, int]
    measured: dict[str, int]
    error: dict[str, float]


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit try` prints and stores.

    `predicted` and `measured` hold bytes by part: `weights`, `cache`, `activations`, `allocated_peak_bytes`, and for the
    measured also `process_peak_bytes`, and of main memory after the last step `resident_anonymous_bytes` and `resident_file_bytes`; `error` is (predicted - measured) / measured by part; `unaccounted_bytes` the
    part of the allocated peak that no prediction explains. Of a server (`server` is set) memory is known as far as it says; the
    rest is absent, and `unaccounted_bytes` None. `asked` is what `output` answers, shortened; `inputs` is there for a file of many.
    `output_error` says why there is no output, where only that failed.

    `ranks` has one entry for each process of a divided model; `predicted` and `measured` are then the sums over all of them.
    """

    schema: str = "fmkit.trial/1"
    fmkit: str
    catalog: str
    id: str
    date: str
    model: str
    hub_id: str | None
    engine: EngineVersion
    machine: TrialMachine
    workload: TrialWorkload
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
    asked: str = ""
    inputs: InputsSummary | None = None
    memory_limit: MemoryLimit | None = None
    ranks: tuple[RankResult, ...] = ()
    output_error: str | None = None


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A workload of a sweep that gave no result, and why; `kind` tells one that was refused (`does-not-fit`) from one that failed."""

    precision: str
    kind: str = "failed"
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
