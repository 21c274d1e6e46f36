"""`fmkit catalog licence`: what a model's licence, its base's included, says to a use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fmkit import __version__
from fmkit.api.asked import text
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.licence import LicenceResult, LicenceText
from fmkit.selection.licences import BoundLicence, bound_licence
from fmkit.selection.permission import Intent, findings, overall
from fmkit.selection.regions import region_code
from fmkit.units import parse_count

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.selection.facts import Candidate
    from fmkit.selection.permission import Finding

USES: tuple[Literal["commercial", "research"], ...] = ("commercial", "research")


def licence(
    name: str,
    *,
    use: str = "commercial",
    region: str | None = None,
    monthly_users: int | str | None = None,
    train_on_outputs: bool = False,
) -> LicenceResult:
    """What binds a model (or what a licence says), and the answer to each question asked: yes, conditional, unknown, no.

    `name` is a model or a licence of the catalog; a model wins. UsageError for what the catalog has not, or can't be read.
    """
    catalog = load_catalog()
    intent = Intent(
        use=_use(use),
        region=None if region is None else region_code(text(region, "--region"), where="--region"),
        monthly_users=None if monthly_users is None else parse_count(str(monthly_users), where="--monthly-users"),
        train_on_outputs=train_on_outputs,
    )
    candidate, bound = _bound(text(name, "MODEL"), catalog)
    found = findings(bound, intent, None if candidate is None else candidate.inputs)
    return LicenceResult(
        fmkit=__version__,
        catalog=catalog.date,
        ref=name,
        model=None if candidate is None else candidate.id,
        asked=intent,
        answer=overall(found),
        verified=all(one.verification != "recalled" for one in bound.licences),
        findings=found,
        licences=_texts(bound, candidate, catalog),
        age=catalog.age,
        notes=() if candidate is None else candidate.notes,
        next=() if candidate is None else (f"fmkit catalog show {candidate.id}",),
    )


def usual_findings(candidate: Candidate, catalog: Catalog) -> tuple[Finding, ...]:
    """What everybody asks first of a model: commercial use, and training on its outputs."""
    bound = _bound_model(candidate, catalog)
    return findings(bound, Intent(use="commercial", train_on_outputs=True), candidate.inputs)


def licence_assignments(candidate: Candidate, catalog: Catalog) -> dict[str, str]:
    """By licence that binds a model, where it was read that the model, or the base that brings the licence, stands under it."""
    return _assigned(_bound_model(candidate, catalog), candidate, catalog)


def _use(use: str) -> Literal["commercial", "research"]:
    for known in USES:
        if use == known:
            return known
    raise UsageError.unknown("use", use, USES, where="--use")


def _bound(name: str, catalog: Catalog) -> tuple[Candidate | None, BoundLicence]:
    model_id = catalog.resolve(name)
    if model_id is not None:
        candidate = catalog.model(model_id).candidate
        return candidate, _bound_model(candidate, catalog)
    wanted = name.casefold()
    for known in catalog.licences.values():
        if wanted == known.id or wanted in known.aliases:
            return None, BoundLicence(licences=(known,), inherited_from={})
    names = (*catalog.model_ids(), *catalog.licences)
    raise UsageError.unknown("model or licence", name, names, next_command="fmkit catalog list")


def _bound_model(candidate: Candidate, catalog: Catalog) -> BoundLicence:
    return bound_licence(candidate, {one.id: one for one in catalog.candidates()}, catalog.licences)


def _assigned(bound: BoundLicence, candidate: Candidate, catalog: Catalog) -> dict[str, str]:
    read: dict[str, str] = {}
    for one in bound.licences:
        base = bound.inherited_from.get(one.id)
        model = candidate if base is None else catalog.model(base).candidate
        source = model.sources.get("licence")
        if source is not None:
            read[one.id] = source
    return read


def _texts(bound: BoundLicence, candidate: Candidate | None, catalog: Catalog) -> tuple[LicenceText, ...]:
    assigned = {} if candidate is None else _assigned(bound, candidate, catalog)
    return tuple(
        LicenceText(
            id=one.id,
            name=one.name,
            licence_class=one.licence_class,
            inherited_from=bound.inherited_from.get(one.id),
            conditions=one.conditions,
            naming=one.naming,
            assignment=assigned.get(one.id),
            verification=one.verification,
            source=one.source,
            source_date=one.source_date,
        )
        for one in bound.licences
    )
