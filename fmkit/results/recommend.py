"""The answer of `fmkit recommend`: schema fmkit.recommend/1."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fmkit.results.capability import EstimatedEvidence
from fmkit.results.vram import Estimate, MachineSummary
from fmkit.selection.facts import CatalogAge, HubFacts
from fmkit.speed.estimate import SpeedEstimate


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One published score; without source, variant and date it would not exist."""

    benchmark: str
    variant: str
    score: float
    unit: str
    source: str
    date: str
    reported_by: str


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How capable a model is at the task, from its scores: 0 to 1 among the catalog's models, with an interval.

    `basis` is `measured` (it was tried on the task's benchmarks), `estimated from N other scores`, or `unknown`; `estimated`
    are scores on benchmarks it lacks. None where the task has no comparable scores, or the model no score at all.
    """

    value: float | None
    low: float | None
    high: float | None
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...] = ()
    basis: str = "unknown"
    estimated: tuple[EstimatedEvidence, ...] = ()


class ScoreParts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a pick's score, each 0 to 1; None where unknown."""

    quality: float | None
    latency: float | None
    memory: float | None
    licence: float | None
    cost: float | None


class LicenceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the licence says, not what to do about it."""

    id: str
    licence_class: str = msgspec.field(name="class")
    commercial: str
    conditions: tuple[str, ...]
    source: str
    verified: bool


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens cost; every figure with its date or its assumption. None where unknown."""

    tokens_per_usd: float | None
    usd_per_1m_tokens: float | None
    usd_per_month: float | None
    break_even_utilisation: float | None
    price_date: str | None
    assumption: str


class QuantisedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A quantised copy of a pick on the Hub: one for each method, the publisher's own or the most downloaded. `bytes` are its files."""

    hub_id: str
    publisher: str
    official: bool
    method: str
    label: str
    bytes: int
    downloads: int | None
    gated: bool
    last_change: str | None


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """One recommended model in the precision and engine it was judged in; `reasons` says why that one, and what its score lacks.

    `devices_used` are those of the machine that hold it; `origin` is `hub` for a model that the catalog does not have and a search found: it has no rank and no score.
    """

    rank: int | None
    tied_with: tuple[str, ...]
    model: str
    hub_id: str | None
    family: str
    kind: str
    tuning: str
    modalities: tuple[str, ...]
    precision: str | None
    engine: str | None
    score: float | None
    parts: ScoreParts
    quality: Quality
    memory: Estimate | None
    speed: SpeedEstimate | None
    task_units: dict[str, float | int | str]
    licence: LicenceFacts
    cost: Cost | None
    warnings: tuple[str, ...]
    next: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    devices_used: int | None = None
    live: HubFacts | None = None
    origin: Literal["catalog", "hub"] = "catalog"
    variants: tuple[QuantisedVariant, ...] = ()


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is not proposed, the constraint that excludes it, and by how much it missed; `next` is a command that shows a way round."""

    model: str
    reason: str
    constraint: str
    missed_by: str | None
    next: str | None = None


class Relaxation(msgspec.Struct, frozen=True, kw_only=True):
    """A constraint which, loosened to `to`, would let further models in."""

    constraint: str
    to: str
    would_add: tuple[str, ...]


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the question that changes the winner."""

    change: str
    new_winner: str


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """The same candidates seen by one criterion each."""

    cheapest: str | None
    fastest: str | None
    best: str | None
    smallest: str | None
    pareto: tuple[str, ...]


class RecommendResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit recommend` prints. `ranked` is False for a task without comparable scores."""

    schema: str = "fmkit.recommend/1"
    fmkit: str
    catalog: str
    age: CatalogAge
    task: str
    understood: dict[str, Any]
    constraints: dict[str, Any]
    ranked: bool
    verdict: str
    picks: tuple[Pick, ...]
    views: Views
    excluded: tuple[Excluded, ...]
    relax: tuple[Relaxation, ...]
    sensitivity: tuple[Sensitivity, ...]
    warnings: tuple[str, ...] = ()
    machine: MachineSummary | None = None
    why_not: tuple[str, ...] = ()
