"""`fmkit catalog`: what the catalog holds, with its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.capabilities import capabilities
from fmkit.api.licence import licence_assignments, usual_findings
from fmkit.catalog.load import load_catalog, open_catalog
from fmkit.errors import CatalogInvalidError, UsageError
from fmkit.results.catalog import CatalogCheckResult, LocalModelsResult, LocalRow, ModelResult, ModelRow, ModelsResult
from fmkit.selection.asking import date_text
from fmkit.selection.evidence import effective_context, evidence
from fmkit.selection.facts import Candidate
from fmkit.selection.languages import language_code, speaks
from fmkit.selection.licences import LICENCE_CLASSES, BoundLicence, bound_licence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def list_models(
    *,
    search: str | None = None,
    task: str | None = None,
    family: str | None = None,
    kind: str | None = None,
    tuning: str | None = None,
    licence: str | None = None,
    language: str | None = None,
    since: str | None = None,
) -> ModelsResult:
    """The models of the catalog that pass every filter given, or all.

    `search` is a part of an id, a Hub id or a publisher; `licence` an id or a class, inherited licences counted in;
    `since` a date: models without a known release date are left out, and counted.
    """
    catalog = load_catalog()
    found: Iterable[Candidate] = catalog.candidates()
    if search is not None:
        found = [one for one in found if any(search.casefold() in name.casefold() for name in _names(one))]
    if task is not None:
        found = [one for one in found if _known("task", task, catalog.tasks) in one.tasks]
    for option, value, of in (("family", family, _family), ("kind", kind, _kind), ("tuning", tuning, _tuning)):
        if value is not None:
            valid = sorted({of(one) for one in catalog.candidates()})
            found = [one for one in found if of(one) == _known(option, value, valid)]
    if licence is not None:
        allowed = _known("licence", licence, (*LICENCE_CLASSES, *catalog.licences))
        by_id = {one.id: one for one in catalog.candidates()}
        found = [one for one in found if _stands_under(bound_licence(one, by_id, catalog.licences), allowed)]
    if language is not None:
        code = language_code(language, where="--language")
        found = [one for one in found if speaks(one.languages, code)]
    models, undated = tuple(found), 0
    if date_text(since, "--since") is not None:
        undated = sum(one.released is None for one in models)
        models = tuple(one for one in models if is_since(one.released, since))
    return ModelsResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        models=tuple(map(_row, models)),
        undated=undated,
        own=catalog.own,
    )


def is_since(date: str | None, since: str | None) -> bool:
    """Whether a date is not before another, compared as far as both go; an unknown date is not.

    >>> is_since("2025-03", "2025-03-20"), is_since("2024", "2025-01"), is_since(None, "2025")
    (True, False, False)
    """
    if date is None or since is None:
        return False
    length = min(len(date), len(since))
    return date[:length] >= since[:length]


def _known(option: str, value: str, valid: Collection[str]) -> str:
    if value not in valid:
        raise UsageError.unknown(option, value, valid, where=f"--{option}")
    return value


def _names(candidate: Candidate) -> tuple[str, ...]:
    return candidate.id, candidate.hub_id or candidate.name, candidate.publisher


def _family(candidate: Candidate) -> str:
    return candidate.family


def _kind(candidate: Candidate) -> str:
    return candidate.spec_kind


def _tuning(candidate: Candidate) -> str:
    return candidate.tuning


def _stands_under(bound: BoundLicence, allowed: str) -> bool:
    """Whether one of the licences that bind it was asked for, or the class of the one that binds most."""
    return allowed == bound.binding.licence_class or any(allowed == one.id for one in bound.licences)


def list_local() -> LocalModelsResult:
    """The models that the Hub library has downloaded to this disk: whole or not, and how much room they take."""
    from fmkit.hub.cache import cache_folder  # noqa: PLC0415  looks at the disk only when asked to
    from fmkit.hub.disk import local_models  # noqa: PLC0415

    catalog = load_catalog()
    rows = tuple(
        LocalRow(
            hub_id=found.hub_id,
            id=catalog.resolve(found.hub_id),
            commit=found.commit,
            state=found.state,
            bytes=found.bytes,
            format=found.format,
            detail=found.detail,
        )
        for found in local_models()
    )
    return LocalModelsResult(fmkit=__version__, folder=str(cache_folder()), models=rows)


def _row(candidate: Candidate) -> ModelRow:
    return ModelRow(
        id=candidate.id,
        hub_id=candidate.hub_id,
        family=candidate.family,
        kind=candidate.spec_kind,
        tuning=candidate.tuning,
        params=candidate.params,
        context_tokens=candidate.context_tokens,
        licence=candidate.licence,
        released=candidate.released,
        tasks=candidate.tasks,
    )


def show_model(name: str) -> ModelResult:
    """Everything the catalog knows of one model."""
    catalog = load_catalog()
    model = catalog.model(name)
    facts = model.candidate
    following = (f"fmkit vram {facts.id}",) if model.spec is not None or facts.api is not None else ()
    return ModelResult(
        fmkit=__version__,
        catalog=catalog.date,
        facts=facts,
        architecture=model.spec.architecture if model.spec is not None else None,
        config_file=model.config_file,
        config_confidence=model.config_confidence,
        config_source=model.config_source,
        config_fault=model.spec_fault,
        age=catalog.age,
        permission=usual_findings(facts, catalog),
        assignments=licence_assignments(facts, catalog),
        effective_context=effective_context(facts.scores),
        capabilities=capabilities([facts.id], catalog)[facts.id],
        evidence=evidence(facts.scores),
        notes=model.spec.notes if model.spec is not None else (),
        next=following,
    )


def check_catalog() -> CatalogCheckResult:
    """Check the catalog's source files, and the user's own over them, against all rules.

    CatalogInvalidError lists every fault; those of the shipped catalog come first, for the user's are told by comparison.
    """
    from fmkit.catalog.check import check  # noqa: PLC0415 - imports PyYAML
    from fmkit.catalog.faults import invalid, listed  # noqa: PLC0415
    from fmkit.catalog.paths import own_folder, source_folder  # noqa: PLC0415

    faults = check(source_folder())
    if faults:
        raise invalid(faults, where=str(source_folder()))
    catalog = open_catalog(source_folder(), own_folder())
    if catalog.own is not None and catalog.own.faults:
        raise CatalogInvalidError(f"your own catalog has {listed(catalog.own.faults)}", where=catalog.own.folder)
    return CatalogCheckResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        models=len(catalog.model_ids()),
        devices=len(catalog.devices),
        licences=len(catalog.licences),
        tasks=len(catalog.tasks),
        own=catalog.own,
    )
