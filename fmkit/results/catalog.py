"""The answers of `fmkit catalog`: schemas fmkit.models/1, fmkit.model/1 and fmkit.catalog-check/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import Candidate


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


class ModelsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The models of the catalog, in the order of its files."""

    schema: str = "fmkit.models/1"
    fmkit: str
    catalog: str
    models: tuple[ModelRow, ...]


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the catalog knows of one model, each fact with its source."""

    schema: str = "fmkit.model/1"
    fmkit: str
    catalog: str
    facts: Candidate
    architecture: str | None
    config_file: str | None
    config_confidence: str | None
    config_source: str | None
    config_fault: str | None
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


class CatalogCheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A catalog without faults, and what was checked; one with faults is an error that lists them (exit code 6)."""

    schema: str = "fmkit.catalog-check/1"
    fmkit: str
    catalog: str
    models: int
    devices: int
    licences: int
    tasks: int
