"""`fmkit catalog`: what the catalog holds, with its sources."""

from __future__ import annotations

from fmkit import __version__
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.catalog import CatalogCheckResult, LocalModelsResult, LocalRow, ModelResult, ModelRow, ModelsResult
from fmkit.selection.facts import Candidate


def list_models(*, task: str | None = None, family: str | None = None) -> ModelsResult:
    """The models of the catalog, of one task or family or all."""
    catalog = load_catalog()
    candidates = catalog.candidates()
    if task is not None and task not in catalog.tasks:
        raise UsageError.unknown("task", task, catalog.tasks, where="--task")
    families = {candidate.family for candidate in candidates}
    if family is not None and family not in families:
        raise UsageError.unknown("family", family, sorted(families), where="--family")
    chosen = [
        candidate
        for candidate in candidates
        if (task is None or task in candidate.tasks) and (family is None or candidate.family == family)
    ]
    return ModelsResult(fmkit=__version__, catalog=catalog.date, models=tuple(map(_row, chosen)))


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
        notes=model.spec.notes if model.spec is not None else (),
        next=following,
    )


def check_catalog() -> CatalogCheckResult:
    """Check the catalog's source files against all rules; CatalogInvalidError lists every fault."""
    from fmkit.catalog.check import check  # noqa: PLC0415 - imports PyYAML
    from fmkit.catalog.faults import invalid  # noqa: PLC0415
    from fmkit.catalog.paths import source_folder  # noqa: PLC0415

    faults = check(source_folder())
    if faults:
        raise invalid(faults, where=str(source_folder()))
    catalog = load_catalog()
    return CatalogCheckResult(
        fmkit=__version__,
        catalog=catalog.date,
        models=len(catalog.model_ids()),
        devices=len(catalog.devices),
        licences=len(catalog.licences),
        tasks=len(catalog.tasks),
    )
