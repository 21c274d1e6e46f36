"""The answers of `fmkit catalog`: schemas fmkit.models/1, fmkit.local-models/1, fmkit.variants/1, fmkit.refresh/1, fmkit.model/1 and fmkit.catalog-check/1."""

from __future__ import annotations

import msgspec

from fmkit.results.capability import TaskCapability
from fmkit.selection.facts import Candidate, CatalogAge, HubFacts, OwnCatalog, Score
from fmkit.selection.permission import Finding


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the catalog in a list."""

    id: str
    hub_id: str | None
    family: str
    kind: str
    tuning: str
    params: int | None
    context_tokens: int | None
    licence: str
    tasks: tuple[str, ...]
    released: str | None = None


class ModelsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The models of the catalog, in the order of its files. `undated` were left out for want of a release date."""

    schema: str = "fmkit.models/1"
    fmkit: str
    catalog: str
    age: CatalogAge
    models: tuple[ModelRow, ...]
    undated: int = 0
    own: OwnCatalog | None = None


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the catalog knows of one model, each fact with its source.

    `permission` is what its licences say to commercial use and to training on its outputs, `assignments` by licence where it was read
    that the model stands under it; `evidence` its scores by what they test.
    """

    schema: str = "fmkit.model/1"
    fmkit: str
    catalog: str
    facts: Candidate
    architecture: str | None
    config_file: str | None
    config_confidence: str | None
    config_source: str | None
    config_fault: str | None
    age: CatalogAge = CatalogAge()
    permission: tuple[Finding, ...] = ()
    assignments: dict[str, str] = {}
    effective_context: Score | None = None
    capabilities: tuple[TaskCapability, ...] = ()
    evidence: dict[str, tuple[Score, ...]] = {}
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


class LocalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was downloaded to this disk; `bytes` are of all its files. `state` says whether its weights are whole."""

    hub_id: str
    id: str | None
    commit: str | None
    state: str
    bytes: int
    format: str | None
    detail: str


class LocalModelsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The models in the Hub library's cache on this disk; `id` is set where the catalog has them."""

    schema: str = "fmkit.local-models/1"
    fmkit: str
    folder: str
    models: tuple[LocalRow, ...]


class VariantRow(msgspec.Struct, frozen=True, kw_only=True):
    """One quantisation that somebody published. `need_bytes` is the files and what the engine holds beside them; None where unknown."""

    hub_id: str
    publisher: str
    official: bool
    method: str
    label: str
    files: int
    bytes: int
    need_bytes: int | None
    fits: bool | None
    downloads: int | None
    gated: bool
    commit: str
    fetch: str


class VariantsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The quantised variants of a model on the Hub as it answered on `asked_on`, the publisher's own first."""

    schema: str = "fmkit.variants/1"
    fmkit: str
    catalog: str
    model: str
    machine: str
    usable_bytes: int
    asked_on: str
    context_tokens: int
    variants: tuple[VariantRow, ...]
    notes: tuple[str, ...] = ()


class RefreshRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub says of one model of the catalog, and where the two differ; `facts` is None where the Hub refused.

    `exit_code` is that of the refusal, by which a command ends that names the model.
    """

    id: str
    hub_id: str
    facts: HubFacts | None
    differences: tuple[str, ...]
    exit_code: int | None = None


class RefreshResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub said when it was asked about the catalog's models."""

    schema: str = "fmkit.refresh/1"
    fmkit: str
    catalog: str
    models: tuple[RefreshRow, ...]


class CatalogCheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A catalog without faults, and what was checked; one with faults is an error that lists them (exit code 6)."""

    schema: str = "fmkit.catalog-check/1"
    fmkit: str
    catalog: str
    models: int
    devices: int
    licences: int
    tasks: int
    own: OwnCatalog | None = None
    age: CatalogAge = CatalogAge()
