"""What was selected, as `fmkit recommend` answers it: the picks, who is out and why, what would change the winner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit import __version__
from fmkit.api.recommend_experts import with_experts_beside
from fmkit.api.recommend_picks import pick_of
from fmkit.api.summaries import machine_summary
from fmkit.results.recommend import Excluded, RecommendResult, Relaxation, Sensitivity, Views
from fmkit.selection import explain
from fmkit.selection.request import context_need, weights_of
from fmkit.selection.scoring import weights_that_count
from fmkit.selection.whatif import relaxations, sensitivities

if TYPE_CHECKING:
    from fmkit.api.recommend_question import Question
    from fmkit.selection.constraints import Exclusion
    from fmkit.selection.ranking import Selection

NEWEST_SHOWN = 3
"""Models without a score that are named."""


def answer(selection: Selection, question: Question, *, top: int, why_not: str | None) -> RecommendResult:
    """The first `top` with what people need to know to follow or to change the choice."""
    request, pool = question.request, question.pool
    shown = selection.standings[:top]
    ranked = selection.unranked is None
    # what is free changes by the second; the answer must not
    machine = msgspec.structs.replace(machine_summary(pool.machine), free_bytes=None)
    out = tuple(with_experts_beside(excluded(found), question) for found in selection.excluded)
    return RecommendResult(
        fmkit=__version__,
        catalog=question.catalog.date,
        age=question.catalog.age,
        task=pool.task.id,
        understood=_understood(question),
        constraints=_constraints(question),
        ranked=ranked,
        verdict=explain.verdict(selection, request, pool),
        picks=tuple(
            pick_of(standing, shown, place if standing.score is not None else None, question)
            for place, standing in enumerate(shown, 1)
        ),
        views=Views(
            cheapest=explain.cheapest(selection.standings),
            fastest=explain.fastest(selection.standings),
            best=explain.best(selection.standings) if ranked else None,
            smallest=explain.smallest(selection.standings),
            pareto=explain.pareto(selection.ranked),
        ),
        excluded=out,
        relax=tuple(
            Relaxation(constraint=found.constraint, to=found.to, would_add=found.would_add)
            for found in relaxations(selection, request, pool)
        ),
        sensitivity=tuple(
            Sensitivity(change=found.change, new_winner=found.new_winner)
            for found in sensitivities(selection, request, pool)
        ),
        warnings=tuple(_warnings(selection, question)),
        machine=machine,
        why_not=() if why_not is None else _why_not(why_not, out, selection, question),
    )


def _why_not(model: str, out: Sequence[Excluded], selection: Selection, question: Question) -> tuple[str, ...]:
    """Why it is not the first, and the command that shows a way round."""
    said = explain.why_not(model, selection, question.request, question.pool)
    ways = [f"it fits with experts in main memory: {one.next}" for one in out if one.model == model and one.next]
    return (*said, *ways)


def excluded(found: Exclusion) -> Excluded:
    """A model that is out, and why."""
    return Excluded(model=found.model, reason=found.reason, constraint=found.constraint, missed_by=found.missed_by)


def _understood(question: Question) -> dict[str, Any]:
    """The question as it was understood: from which words, and what the task's defaults filled in."""
    phrase, request, task = question.phrase, question.request, question.pool.task
    return {
        "task": task.name,
        "words": phrase.understood,
        "not_understood": list(phrase.not_understood),
        "context_tokens": context_need(request, task),
        "prompt_tokens": request.prompt_tokens or task.prompt_tokens,
        "output_tokens": task.output_tokens if request.output_tokens is None else request.output_tokens,
        "weights": {part: round(weight, 4) for part, weight in weights_of(request, task).items()},
    }


def _constraints(question: Question) -> dict[str, Any]:
    """What was asked for, by name; nothing that is at its default."""
    asked: dict[str, Any] = msgspec.to_builtins(question.request)
    for name in ("task", "weights", "prompt_tokens", "output_tokens"):
        asked.pop(name, None)
    return asked


def _warnings(selection: Selection, question: Question) -> Iterator[str]:
    """What the reader must know of the whole list."""
    request, pool = question.request, question.pool
    if question.phrase.not_understood:
        yield f"not understood: {', '.join(question.phrase.not_understood)}"
    if request.domain is not None:
        yield f"{request.domain}: no comparable scores for this domain; models trained for it come first among equals only"
    if not question.engine_asked and request.engine != "transformers":
        yield f"judged in {request.engine}, the usual engine on such hardware; --engine names another"
    yield from _not_ranked(selection, question)
    if pool.machine.count > 1 and "cost" not in weights_that_count(request, pool):
        yield "cost does not count in the score: one sequence on several cards says nothing about serving; give --sequences"
    sized = [standing.sized for standing in selection.standings if standing.sized is not None]
    if sized and all(one.speed is None for one in sized):
        device = pool.machine.device
        unknown = device is None or device.bandwidth_bytes_per_s is None
        why = "its bandwidth is not known; name a device with --gpu" if unknown else "the notes of each model say why"
        yield f"no speed is predicted on {pool.machine.name}: {why}"


def _not_ranked(selection: Selection, question: Question) -> Iterator[str]:
    """Why models, or all of them, have no rank."""
    pool = question.pool
    if selection.unranked is not None:
        yield f"{pool.task.id} is not ranked: {selection.unranked}"
        return
    unscored = [standing.candidate for standing in selection.unscored if standing.parts.quality is None]
    if unscored:
        noun = "models pass" if len(unscored) > 1 else "model passes"
        newest = sorted((one for one in unscored if one.released), key=lambda one: one.released or "", reverse=True)
        some = ", ".join(f"{one.id} ({one.released})" for one in newest[:NEWEST_SHOWN])
        yield (
            f"{len(unscored)} {noun} without a comparable score for {pool.task.id}: not ranked, listed last"
            f"{f'; the newest of them: {some}' if some else ''}"
        )
    slow = sum(found.speed_unknown and found.parts.quality is not None for found in selection.unscored)
    if slow:
        noun = "models" if slow > 1 else "model"
        yield f"{slow} {noun} with an unknown speed on {pool.machine.name}: not ranked, listed last"
