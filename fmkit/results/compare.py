"""The answer of `fmkit compare`: schema fmkit.compare/1."""

from __future__ import annotations

import msgspec

from fmkit.results.capability import TaskCapability
from fmkit.results.recommend import LicenceFacts
from fmkit.results.vram import Estimate, MachineSummary
from fmkit.selection.facts import Candidate, CatalogAge, Score


class ComparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model. `facts` is None for a model that the catalog lacks, `licence` where none is known.

    `estimates` has one for each precision, at `context_tokens`; none for a model that only an API offers. `evidence` are its
    scores by what they test. `usd_per_1m_output_tokens` is the API's price, or that of the rented device at the median speed of
    one sequence, busy all the time.
    """

    id: str
    hub_id: str | None
    architecture: str | None
    kind: str
    params: int | None
    active_params: int | None
    active_params_without_embedding: int | None
    max_context_tokens: int | None
    effective_context: Score | None
    context_tokens: int | None
    facts: Candidate | None
    config_source: str | None
    licence: LicenceFacts | None
    estimates: tuple[Estimate, ...]
    capabilities: tuple[TaskCapability, ...]
    evidence: dict[str, tuple[Score, ...]]
    usd_per_1m_output_tokens: float | None
    price_basis: str | None
    warnings: tuple[str, ...] = ()


class SharedScore(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark in one set-up that at least two of the models have, with each model's score in the models' order."""

    benchmark: str
    variant: str
    unit: str
    scores: tuple[Score | None, ...]


class CompareResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit compare` prints. `machine` is None where no model has weights to size."""

    schema: str = "fmkit.compare/1"
    fmkit: str
    catalog: str
    machine: MachineSummary | None
    engine: str
    models: tuple[ComparedModel, ...]
    shared_scores: tuple[SharedScore, ...]
    next: tuple[str, ...] = ()
    age: CatalogAge = CatalogAge()
