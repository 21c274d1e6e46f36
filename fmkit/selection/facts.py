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
LicenceTopic = Literal["use", "region", "users", "revenue", "outputs"]
"""What a clause of a licence can be about, where it answers a question about a use."""
ReportedBy = Literal["vendor", "other-vendor", "independent"]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A record of the catalog: frozen, and strict about its keys. `id` is the file name or key, filled in by the loader."""


class LicenceTerms(Fact, frozen=True, kw_only=True):
    """What a licence allows. `commercial`: yes, no, or conditional with the binding conditions.

    `user_cap` and `revenue_cap_usd_per_year` are thresholds above which a separate licence is needed or, where `above_caps`
    says so, a duty applies; with `user_cap_on` users are counted by that day (words where each version has its own), whatever they are later; `excluded_regions` ISO codes or EU/UK; `trains_on_outputs` whether outputs may improve other
    models. `verification` says whether the text was read; a recalled row shows as unverified.
    """

    name: str
    licence_class: LicenceClass
    commercial: Literal["yes", "no", "conditional", "unknown"]
    verification: Verification
    source: str
    source_date: str | None = None
    user_cap: int | None = None
    user_cap_on: str | None = None
    revenue_cap_usd_per_year: int | None = None
    above_caps: Literal["separate-licence", "duty"] = "separate-licence"
    excluded_regions: tuple[str, ...] = ()
    excluded_regions_modalities: tuple[str, ...] = ()
    trains_on_outputs: Literal["yes", "no", "conditional", "unknown"] = "unknown"
    naming: str | None = None
    aliases: tuple[str, ...] = ()


class Licence(LicenceTerms, frozen=True, kw_only=True):
    """A licence with its `conditions` as sentences; `clauses` are those that answer a question, by what they are about."""

    id: str = ""
    conditions: tuple[str, ...]
    clauses: dict[LicenceTopic, tuple[str, ...]] = {}


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
    comparable scores exist; `words` are the phrases that name the task. `needs_thought` is for tasks that are worth thinking about: at the others a model
    with a mode without thoughts is judged in that.
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
    needs_thought: bool = False

    def is_answered_directly(self, candidate: Candidate) -> bool:
        """Whether a model that thinks is used in its documented mode without thoughts: the task does not need them."""
        return candidate.thinks and candidate.answers_directly and not self.needs_thought


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


class HubEvaluation(Fact, frozen=True, kw_only=True):
    """One result that is published with a model on the Hub, as it stands there: nobody of fmkit has checked what it is comparable with."""

    dataset: str
    task: str | None
    value: float
    date: str | None
    source: str | None


class HubFacts(Fact, frozen=True, kw_only=True):
    """What the Hub said of a model on `asked_on`: counts of the last 30 days, `licence` as tagged.

    `evaluations` is how many results are published with it, `evaluation_results` those of them that could be read. They are shown and
    rank nothing.
    """

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
    evaluation_results: tuple[HubEvaluation, ...] = ()


class OwnCatalog(Fact, frozen=True, kw_only=True):
    """What became of a user's own catalog: its folder, its models, what of the shipped catalog gave way to it.

    With `faults` none of it is used. Each fault is a line with file and place.
    """

    folder: str
    models: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class CatalogAge(Fact, frozen=True, kw_only=True):
    """How far a catalog reaches, whatever day it bears: its newest releases and the newest source of a score (YYYY-MM-DD or YYYY-MM).

    A newest release is the newest of the dated ones; how many models have no date stands beside it.
    """

    newest_open_model: str | None = None
    newest_api_model: str | None = None
    newest_score: str | None = None
    undated_open_models: int = 0
    undated_api_models: int = 0


class SizeClass(Fact, frozen=True, kw_only=True):
    """A class of language models by parameters, from `from_params` up to the next class.

    `example` stands for the open models of the class; a class of closed models has `apis` instead, and no count.
    """

    id: str = ""
    name: str
    use: str
    from_params: int | None = None
    example: str | None = None
    apis: tuple[str, ...] = ()


class Traits(Fact, frozen=True, kw_only=True):
    """What a model's text part is built of, read from its configuration; None is not known.

    `ffn_ratio` is the inner width of the feed-forward that one token passes through over the width of the model;
    `attention` the kinds of its layers with their number.
    """

    norm: str | None = None
    activation: str | None = None
    positions: str | None = None
    ffn_ratio: float | None = None
    attention: str = ""


CHINCHILLA_TOKENS_PER_PARAM = 20
"""Training tokens per parameter that spend a budget of operations best (Hoffmann et al., arXiv:2203.15556, about 20)."""


class Candidate(Fact, frozen=True, kw_only=True):
    """One model that may be proposed: open weights (`api` is None) or an API model (`hub_id` is None).

    `sources` maps a field to where it was read; `spec_kind` is the architecture's kind (`decoder`, `encoder`, ... or `api`).
    `active_params` count the input embedding. `quantised` are known Hub repositories of the same weights in a quantised layout. `may_think`: it can, and nothing says that it
    does unless it is asked to. `answers_directly`: it thinks, and has a documented mode without. `native_context_tokens` is the length it
    was trained on, `extended_context_tokens` what its publisher states with scaled positions (YaRN), which are switched on by hand.
    `training_tokens` are all that it saw, `further_training_tokens` those of them that were added to another model's; where that one's
    are unknown, so are all.
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
    native_context_tokens: int | None = None
    extended_context_tokens: int | None = None
    api: ApiTerms | None = None
    base_model: str | None = None
    training_tokens: int | None = None
    further_training_tokens: int | None = None
    domain: str | None = None
    gated: bool | None = None
    needs_fine_tune: bool = False
    thinks: bool = False
    may_think: bool = False
    answers_directly: bool = False
    embedding_dim: int | None = None
    quantised: tuple[str, ...] = ()
    traits: Traits | None = None
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}

    @property
    def tokens_per_param(self) -> float | None:
        """Training tokens per parameter, all experts counted; None where the publisher names no count.

        Beside CHINCHILLA_TOKENS_PER_PARAM it says how far a model was trained beyond what is cheapest to train.
        """
        if self.training_tokens is None or not self.params:
            return None
        return self.training_tokens / self.params

    @property
    def tokens_per_active_param(self) -> float | None:
        """Training tokens per parameter that one token passes through; None for a dense model, and where a count is unknown."""
        if self.training_tokens is None or not self.active_params or self.active_params == self.params:
            return None
        return self.training_tokens / self.active_params
