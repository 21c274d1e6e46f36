"""The facts that selection works on; `fmkit.catalog` fills them in from its files."""

from __future__ import annotations

from typing import Literal

import msgspec

Tuning = Literal["base", "instruct", "reasoning", "embedding", "task-tuned"]
LicenceClass = Literal[
    "permissive",
    "weak-copyleft",
    "community-restricted",
    "non-commercial",
    "research-only",
    "proprietary-api",
    "unknown",
]
Modality = Literal["text", "image", "audio", "video", "pdf"]
Verification = Literal["text-read", "summary-read", "recalled"]
ReportedBy = Literal["vendor", "other-vendor", "independent"]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A record of the catalog: frozen, and strict about its keys. `id` is the file name or key, filled in by the loader."""


class Licence(Fact, frozen=True, kw_only=True):
    """What a licence allows and asks. `commercial`: yes, no, or conditional with the binding `conditions`.

    `user_cap` and `revenue_cap_usd_per_year` are thresholds above which a separate licence (or a duty) applies;
    `excluded_regions` ISO codes or EU/UK; `trains_on_outputs` whether outputs may improve other models.
    `verification` says whether the text was read; a recalled row shows as unverified.
    """

    id: str = ""
    name: str
    licence_class: LicenceClass
    commercial: Literal["yes", "no", "conditional", "unknown"]
    conditions: tuple[str, ...]
    verification: Verification
    source: str
    source_date: str | None = None
    user_cap: int | None = None
    revenue_cap_usd_per_year: int | None = None
    excluded_regions: tuple[str, ...] = ()
    excluded_regions_modalities: tuple[str, ...] = ()
    trains_on_outputs: Literal["yes", "no", "conditional", "unknown"] = "unknown"
    naming: str | None = None
    aliases: tuple[str, ...] = ()


class TaskBenchmark(Fact, frozen=True, kw_only=True):
    """One benchmark that says something about a task, with its weight and the reason.

    `variants` lists the variants that are comparable with each other (exact strings of the scores file, or a prefix
    ending in `*`); scores of other variants are not mixed in. `higher_is_better` False for error rates.
    """

    benchmark: str
    weight: float
    reason: str
    variants: tuple[str, ...] = ("*",)
    higher_is_better: bool = True


class Task(Fact, frozen=True, kw_only=True):
    """One task: who may be proposed for it, what it usually needs, and the evidence that ranks candidates.

    `kinds` and `tunings` bound the candidates; `context_tokens` is the default need; `unranked` gives the reason where no
    comparable scores exist; `words` are the phrases that name the task.
    """

    id: str = ""
    name: str
    summary: str
    tunings: tuple[Tuning, ...]
    kinds: tuple[str, ...]
    context_tokens: int
    prompt_tokens: int
    output_tokens: int
    inputs: tuple[Modality, ...] = ("text",)
    benchmarks: tuple[TaskBenchmark, ...] = ()
    unranked: str | None = None
    units: tuple[str, ...] = ()
    domain: str | None = None
    words: tuple[str, ...] = ()
    max_params: int | None = None
    weights: dict[str, float] = {}


class Score(Fact, frozen=True, kw_only=True):
    """A published score of one model: a line of scores/<benchmark>.csv."""

    benchmark: str
    variant: str
    score: float
    unit: str
    source: str
    source_date: str
    reported_by: ReportedBy
    notes: str = ""


class CloudPrice(Fact, frozen=True, kw_only=True):
    """What a cloud asks for an accelerator, USD per device and hour: a line of prices/cloud.csv."""

    provider: str
    instance: str
    device: str
    count: int
    usd_per_device_hour: float
    region: str
    source: str
    source_date: str
    notes: str = ""


class ApiTerms(Fact, frozen=True, kw_only=True):
    """What an API asks for a closed model: USD per 1,000,000 tokens, None where unknown."""

    provider: str
    status: Literal["current", "retired", "legacy"] = "current"
    successor: str | None = None
    input_usd_per_1m: float | None = None
    cached_input_usd_per_1m: float | None = None
    output_usd_per_1m: float | None = None
    price_date: str | None = None
    max_output_tokens: int | None = None
    data_policy: str | None = None


class HubFacts(Fact, frozen=True, kw_only=True):
    """What the Hub said of a model on `asked_on`: counts of the last 30 days, `licence` as tagged, `evaluations` published with it."""

    hub_id: str
    asked_on: str
    commit: str | None
    licence: str | None
    gated: bool
    disabled: bool
    downloads: int | None
    likes: int | None
    trending: float | None
    last_change: str | None
    base_models: tuple[str, ...] = ()
    evaluations: int = 0


class Candidate(Fact, frozen=True, kw_only=True):
    """One model that may be proposed: open weights (`api` is None) or an API model (`hub_id` is None).

    `sources` maps a field to where it was read; `spec_kind` is the architecture's kind (`decoder`, `encoder`, ... or `api`).
    """

    id: str
    name: str
    hub_id: str | None
    family: str
    publisher: str
    spec_kind: str
    tuning: Tuning
    licence: str
    tasks: tuple[str, ...]
    not_for: tuple[str, ...]
    languages: tuple[str, ...]
    inputs: tuple[Modality, ...]
    outputs: tuple[str, ...]
    context_tokens: int | None
    params: int | None
    active_params: int | None
    released: str | None
    scores: tuple[Score, ...]
    api: ApiTerms | None = None
    base_model: str | None = None
    training_tokens: int | None = None
    domain: str | None = None
    gated: bool | None = None
    needs_fine_tune: bool = False
    thinks: bool = False
    embedding_dim: int | None = None
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}
