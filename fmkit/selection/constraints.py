"""Hard constraints: each a small rule that says why a model is out, and by how much.

Rules run from the cheapest to the dearest; sizing (`fitting`) comes last, and only for what the facts have left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.languages import speaks
from fmkit.selection.permission import Intent, findings
from fmkit.selection.pool import Pool, task_mismatch
from fmkit.selection.request import Request, context_need
from fmkit.units import format_count, format_tokens

if TYPE_CHECKING:
    from fmkit.selection.facts import Candidate


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """Why a model is out.

    `passes_at` is the value of the constraint with which it would pass, for people; `distance` says how far that is, to
    order by. Both are None where no value helps.
    """

    model: str
    constraint: str
    reason: str
    missed_by: str | None = None
    passes_at: str | None = None
    distance: float | None = None


_LIFTED_BY = {"use": "research", "region": "any region", "train-on-outputs": "off"}
"""What to ask instead where a licence says no."""

Rule = Callable[["Candidate", Request, Pool], Exclusion | None]

FIXED = frozenset({"task", "kind", "tuning", "size", "retired", "architecture"})
"""Constraints that come with the task or the model; asking for less does not lift them."""


def _task(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del request
    mismatch = task_mismatch(candidate, pool.task)
    if mismatch is None:
        return None
    constraint, reason = mismatch
    limit, params = pool.task.max_params, candidate.params
    over = None
    if constraint == "size" and limit is not None and params is not None:
        over = f"{format_count(params - limit)} parameters over {format_count(limit)}"
    return Exclusion(model=candidate.id, constraint=constraint, reason=reason, missed_by=over)


def _retired(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del request, pool
    if candidate.api is None or candidate.api.status != "retired":
        return None
    successor = f"; its successor is {candidate.api.successor}" if candidate.api.successor else ""
    return Exclusion(
        model=candidate.id, constraint="retired", reason=f"{candidate.api.provider} has retired it{successor}"
    )


def _source(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    if candidate.api is None:
        if not request.api_only:
            return None
        return Exclusion(model=candidate.id, constraint="api-only", reason="open weights; only API models were asked for",
                         passes_at="off", distance=1)  # fmt: skip
    provider = candidate.api.provider
    if request.open_only:
        constraint, reason = "open-only", f"its weights are not published; {provider} sells it as an API"
    elif request.data_stays_here:
        constraint, reason = "data-stays-here", f"the data would go to {provider}"
    elif request.hardware_named and not request.api_only:
        constraint, reason = "hardware", f"it runs at {provider}, not on {pool.machine.name}"
    else:
        return None
    off = "not named" if constraint == "hardware" else "off"
    return Exclusion(model=candidate.id, constraint=constraint, reason=reason, passes_at=off, distance=1)


def _family(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del pool
    if candidate.family in request.exclude_families:
        return Exclusion(model=candidate.id, constraint="exclude", reason=f"the family {candidate.family} was excluded")
    if request.only_families and candidate.family not in request.only_families:
        wanted = ", ".join(request.only_families)
        return Exclusion(
            model=candidate.id,
            constraint="only",
            reason=f"of the family {candidate.family}; only {wanted} was asked for",
        )
    return None


def _released(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del pool
    after = request.released_after
    if after is None:
        return None
    released = candidate.released
    if released is None:
        return Exclusion(model=candidate.id, constraint="released-after", reason="its release date is not known")
    length = min(len(after), len(released))
    if released[:length] >= after[:length]:
        return None
    days = _day(after) - _day(released)
    return Exclusion(model=candidate.id, constraint="released-after", reason=f"released {released}, before {after}",
                     missed_by=f"about {days} days", passes_at=released, distance=days)  # fmt: skip


def _day(date: str) -> int:
    """Days on a calendar of equal months: only for saying how far two dates are apart."""
    year, month, day = (*(int(piece) for piece in date.split("-")), 1, 1)[:3]
    return round(year * 365.25 + month * 30.44 + day)


def _licence(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    if not request.licences and not request.licence_classes:
        return None
    bound = pool.bound_licences[candidate.id]
    for licence in bound.licences:
        if licence.id in request.licences or licence.licence_class in request.licence_classes:
            continue
        base = bound.inherited_from.get(licence.id)
        tail = f", inherited from its base {base}" if base else ""
        return Exclusion(
            model=candidate.id,
            constraint="licence",
            reason=f"licence {licence.id} is {licence.licence_class}{tail}; asked for "
            f"{' or '.join((*request.licence_classes, *request.licences))}",
            passes_at=f"also {licence.licence_class}",
            distance=1,
        )
    return None


def _use(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    return None if request.use is None else _not_allowed(candidate, Intent(use=request.use), pool)


def _region(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    return None if request.region is None else _not_allowed(candidate, Intent(region=request.region), pool)


def _monthly_users(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    users = request.monthly_users
    return None if users is None else _not_allowed(candidate, Intent(monthly_users=users), pool)


def _train_on_outputs(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    return _not_allowed(candidate, Intent(train_on_outputs=True), pool) if request.train_on_outputs else None


def _not_allowed(candidate: Candidate, intent: Intent, pool: Pool) -> Exclusion | None:
    """The first licence that does not say yes, with or without conditions; nothing lifts a licence that is not known."""
    for finding in findings(pool.bound_licences[candidate.id], intent, candidate.inputs):
        if finding.answer in {"yes", "conditional"}:
            continue
        over = None if finding.limit is None else (intent.monthly_users or 0) - finding.limit
        lifted_by = None if finding.licence_class == "unknown" else _LIFTED_BY.get(finding.question)
        return Exclusion(
            model=candidate.id,
            constraint=finding.question,
            reason=finding.statement,
            missed_by=None if over is None else f"{over:,} users",
            passes_at=lifted_by if finding.limit is None else f"{finding.limit:,}",
            distance=over if over is not None else 1 if lifted_by else None,
        )
    return None


def _language(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del pool
    missing = [code for code in request.languages if not speaks(candidate.languages, code)]
    if not missing:
        return None
    listed = ", ".join(candidate.languages[:8]) or "none"
    return Exclusion(model=candidate.id, constraint="language", passes_at=f"without {', '.join(missing)}",
                     distance=len(missing), reason=f"its publisher does not list {', '.join(missing)} (lists {listed})")  # fmt: skip


def _modality(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    del pool
    missing = [modality for modality in request.modalities if modality not in candidate.inputs]
    if not missing:
        return None
    return Exclusion(model=candidate.id, constraint="modality", passes_at=f"without {', '.join(missing)}",
                     distance=len(missing), reason=f"does not read {' or '.join(missing)}")  # fmt: skip


def _context(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    need, limit = context_need(request, pool.task), candidate.context_tokens
    if limit is None:
        if request.context_tokens is None or candidate.spec_kind == "state-space":
            return None
        return Exclusion(model=candidate.id, constraint="context", reason="its context limit is not known")
    if limit >= need:
        return None
    return Exclusion(
        model=candidate.id,
        constraint="context",
        reason=f"holds at most {format_tokens(limit)} tokens of the {format_tokens(need)} needed",
        missed_by=f"{format_tokens(need - limit)} tokens",
        passes_at=format_tokens(limit),
        distance=need - limit,
    )


def _quality(candidate: Candidate, request: Request, pool: Pool) -> Exclusion | None:
    least = request.min_quality
    if least is None:
        return None
    judged = pool.qualities.get(candidate.id)
    if judged is None or judged.value is None:
        return Exclusion(model=candidate.id, constraint="min-quality", reason=f"no comparable score for {pool.task.id}")
    if judged.value >= least:
        return None
    return Exclusion(model=candidate.id, constraint="min-quality", missed_by=f"{least - judged.value:.2f}",
                     passes_at=f"{judged.value:.2f}", distance=least - judged.value,
                     reason=f"quality {judged.value:.2f} is below {least:g}")  # fmt: skip


RULES: tuple[Rule, ...] = (
    _task, _retired, _source, _family, _released, _licence, _use, _region, _monthly_users, _train_on_outputs, _language,
    _modality, _context, _quality,
)  # fmt: skip
"""The rules that need facts only, in the order in which they are named as the reason."""


def fact_exclusions(candidate: Candidate, request: Request, pool: Pool) -> Iterator[Exclusion]:
    """All constraints on facts that the model fails, the first the one to name."""
    for rule in RULES:
        exclusion = rule(candidate, request, pool)
        if exclusion is not None:
            yield exclusion
            if exclusion.constraint in FIXED:
                return
