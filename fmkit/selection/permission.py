"""May a model be used so? The facts of the licences that bind it, question by question, with their clauses. No legal advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.selection.facts import LicenceClass
from fmkit.selection.regions import region_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.selection.facts import Licence, LicenceTopic
    from fmkit.selection.licences import BoundLicence

Answer = Literal["yes", "conditional", "unknown", "no"]
Question = Literal["use", "region", "monthly-users", "train-on-outputs"]

SEVERITY: tuple[Answer, ...] = ("yes", "conditional", "unknown", "no")
"""Of several answers the last in this order is the answer to all: unknown is not a pass."""


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody means to do with a model; a field at its default asks nothing. `region` is an ISO code, EU or UK."""

    use: Literal["commercial", "research"] | None = None
    region: str | None = None
    monthly_users: int | None = None
    train_on_outputs: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one licence says to one question. `clauses` are its own conditions on the matter; `limit` a threshold that was passed.

    `inherited_from` is the base model that the licence comes with; `verified` is False where nobody read the text for
    this catalog.
    """

    question: Question
    answer: Answer
    licence: str
    licence_class: LicenceClass
    inherited_from: str | None
    statement: str
    clauses: tuple[str, ...]
    source: str
    source_date: str | None
    verified: bool
    limit: int | None = None


def findings(bound: BoundLicence, intent: Intent, inputs: tuple[str, ...] | None) -> tuple[Finding, ...]:
    """What every licence that binds a model says to every question of `intent`.

    `inputs` are what the model reads, None where a licence is asked about without a model. Commercial use is also bound
    by revenue, which is not asked for: a cap on it makes the answer conditional.
    """
    return tuple(
        _found(licence, bound.inherited_from.get(licence.id), *said)
        for licence in bound.licences
        for said in _said(licence, intent, inputs)
    )


def overall(found: tuple[Finding, ...]) -> Answer:
    """The answer to all questions together: the most severe.

    >>> overall(())
    'yes'
    """
    return max((finding.answer for finding in found), key=SEVERITY.index, default="yes")


_Said = tuple[Question, Answer, str, "tuple[LicenceTopic, ...]", int | None]
"""Question, answer, statement, what its clauses are about, and the limit that was passed."""


def _said(licence: Licence, intent: Intent, inputs: tuple[str, ...] | None) -> Iterator[_Said]:
    if intent.use is not None:
        yield _use(licence, intent.use)
    if intent.region is not None:
        yield _region(licence, intent.region, inputs)
    if intent.monthly_users is not None:
        yield _users(licence, intent.monthly_users)
    if intent.train_on_outputs:
        yield _outputs(licence)


def _found(
    licence: Licence,
    inherited_from: str | None,
    question: Question,
    answer: Answer,
    statement: str,
    topics: tuple[LicenceTopic, ...],
    limit: int | None,
) -> Finding:
    clauses = tuple(clause for topic in topics for clause in licence.clauses.get(topic, ()))
    return Finding(
        question=question,
        answer=answer,
        licence=licence.id,
        licence_class=licence.licence_class,
        inherited_from=inherited_from,
        statement=statement,
        clauses=clauses,
        source=licence.source,
        source_date=licence.source_date,
        verified=licence.verification != "recalled",
        limit=limit,
    )


def _use(licence: Licence, use: Literal["commercial", "research"]) -> _Said:
    if licence.licence_class == "unknown":
        return "use", "unknown", "its licence is not known; unknown is not a pass", (), None
    if use == "research":
        return "use", "yes", f"licence {licence.id} allows research", (), None
    return _commercial(licence)


def _commercial(licence: Licence) -> _Said:
    if licence.commercial == "unknown":
        statement = f"whether {licence.id} allows commercial use is not known; unknown is not a pass"
        return "use", "unknown", statement, ("use",), None
    if licence.commercial == "no":
        return "use", "no", f"licence {licence.id} does not allow commercial use", ("use",), None
    cap = licence.revenue_cap_usd_per_year
    if cap is not None:
        statement = f"licence {licence.id} allows commercial use; {_above(licence)} above {cap:,} USD of revenue a year"
        return "use", "conditional", statement, ("use", "users", "revenue"), None
    if licence.commercial == "conditional":
        statement = f"licence {licence.id} allows commercial use under conditions"
        return "use", "conditional", statement, ("use", "users"), None
    return "use", "yes", f"licence {licence.id} allows commercial use", ("use",), None


def _region(licence: Licence, region: str, inputs: tuple[str, ...] | None) -> _Said:
    if licence.licence_class == "unknown":
        return "region", "unknown", "its licence is not known; unknown is not a pass", (), None
    barred = [code for code in licence.excluded_regions if region_within(region, code)]
    scope = licence.excluded_regions_modalities
    touched = [modality for modality in scope if inputs is None or modality in inputs]
    if barred and scope and inputs is None:
        statement = f"licence {licence.id} excludes {', '.join(barred)} for models that read {' or '.join(scope)}"
        return "region", "conditional", statement, ("region",), None
    if barred and (not scope or touched):
        what = f" for models that read {' and '.join(touched)}" if touched else ""
        return "region", "no", f"licence {licence.id} excludes {', '.join(barred)}{what}", ("region",), None
    return "region", "yes", f"licence {licence.id} does not exclude {region}", (), None


def _users(licence: Licence, users: int) -> _Said:
    if licence.licence_class == "unknown":
        return "monthly-users", "unknown", "its licence is not known; unknown is not a pass", (), None
    cap = licence.user_cap
    if cap is None and "users" in licence.clauses:
        statement = f"licence {licence.id} counts users otherwise than by the month"
        return "monthly-users", "conditional", statement, ("users",), None
    if cap is None:
        return "monthly-users", "yes", f"licence {licence.id} names no number of monthly users", ("users",), None
    counted = "" if licence.user_cap_on is None else f", counted by {licence.user_cap_on}"
    if users <= cap:
        statement = f"licence {licence.id} asks for nothing more up to {cap:,} monthly users{counted}"
        return "monthly-users", "yes", statement, ("users",), None
    if licence.user_cap_on is not None:
        statement = (
            f"licence {licence.id} counts users by {licence.user_cap_on} only: {_above(licence)} if they were more than {cap:,} a month then, "
            "whatever their number is now"
        )
        return "monthly-users", "conditional", statement, ("users",), cap
    answer: Answer = "conditional" if licence.above_caps == "duty" else "no"
    return "monthly-users", answer, f"licence {licence.id}: {_above(licence)} above {cap:,} monthly users", ("users",), cap  # fmt: skip


def _outputs(licence: Licence) -> _Said:
    answers: dict[str, tuple[Answer, str]] = {
        "yes": ("yes", f"licence {licence.id} allows training other models on its outputs"),
        "conditional": ("conditional", f"licence {licence.id} allows training on outputs under conditions"),
        "no": ("no", f"licence {licence.id} forbids training other models on its outputs"),
    }
    otherwise: tuple[Answer, str] = (
        "unknown",
        f"whether {licence.id} allows training on outputs is not known; unknown is not a pass",
    )
    answer, statement = answers.get(licence.trains_on_outputs, otherwise)
    return "train-on-outputs", answer, statement, ("outputs",), None


def _above(licence: Licence) -> str:
    return "a duty applies" if licence.above_caps == "duty" else "a separate licence is needed"
