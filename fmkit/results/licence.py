"""The answer of `fmkit catalog licence`: schema fmkit.licence/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge, LicenceClass, Verification
from fmkit.selection.permission import Answer, Finding, Intent


class LicenceText(msgspec.Struct, frozen=True, kw_only=True):
    """One licence that binds: its own, or the one that comes with the base model `inherited_from`; all its conditions.

    `source` is where its text or terms were read, `assignment` where it was read that the model (or that base) stands under it.
    """

    id: str
    name: str
    licence_class: LicenceClass
    inherited_from: str | None
    conditions: tuple[str, ...]
    naming: str | None
    verification: Verification
    source: str
    source_date: str | None
    assignment: str | None = None


class LicenceResult(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a model, or whatever stands under a licence, may be used so. Facts with their clauses, no legal advice.

    `model` is None where a licence was asked about by its own name. `answer` is the most severe of `findings`;
    `verified` is False where the text of a licence was not read for this catalog.
    """

    schema: str = "fmkit.licence/1"
    fmkit: str
    catalog: str
    ref: str
    model: str | None
    asked: Intent
    answer: Answer
    verified: bool
    findings: tuple[Finding, ...]
    licences: tuple[LicenceText, ...]
    age: CatalogAge = CatalogAge()
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
