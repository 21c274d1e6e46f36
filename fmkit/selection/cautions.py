"""What to know before taking a pick: limits of the evidence, of the licence's wording, and of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.selection.permission import Intent, findings
from fmkit.selection.request import context_need
from fmkit.selection.task_units import effective_context_tokens
from fmkit.units import format_seconds, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmkit.selection.pool import Pool
    from fmkit.selection.request import Request
    from fmkit.selection.standing import Standing

PATIENCE_S = 30.0
"""An answer that takes longer is said to be slow."""
WEAK_QUALITY = 0.1
"""A quality below this is near the worst of the catalog's models for the task, and is said so."""


def cautions(standing: Standing, request: Request, pool: Pool, losses: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings for one pick; `losses` says what each precision narrower than 16 bit loses in quality."""
    return (
        *_about_the_model(standing, request, pool),
        *_about_the_licence(standing, request, pool),
        *_about_the_figures(standing, pool, losses),
    )


def _about_the_model(standing: Standing, request: Request, pool: Pool) -> Iterator[str]:
    candidate, task = standing.candidate, pool.task
    if candidate.needs_fine_tune:
        yield f"a pretrained {candidate.spec_kind} without a head for {task.id}: it needs a fine-tune on labelled examples first"
    if task.is_answered_directly(candidate):
        yield (
            f"judged without thoughts, which it can leave out ({candidate.sources.get('answers_directly', 'documented')}): {task.id} does not "
            "need them; scores measured with thoughts are left out, those that name no mode and estimated ones may be of thinking"
        )
    elif candidate.thinks:
        yield (
            f"thinks before it answers: {standing.load.thinking_tokens:,} hidden tokens per answer are assumed in latency "
            "and cost"
        )
    if candidate.gated:
        yield "gated on the Hub: its terms must be accepted with an account before it can be downloaded"
    need, effective = context_need(request, task), effective_context_tokens(standing)
    if effective is not None and effective < need:
        yield (
            f"RULER finds it reliable up to {format_tokens(effective)} tokens only, less than the {format_tokens(need)} asked for"
        )
    if candidate.context_tokens is None:
        yield "no context limit is stated for it"
    if candidate.api is not None and candidate.api.status == "legacy":
        successor = f"; {candidate.api.successor} follows it" if candidate.api.successor else ""
        yield f"its provider lists it as legacy{successor}"


def _about_the_licence(standing: Standing, request: Request, pool: Pool) -> Iterator[str]:
    bound = pool.bound_licences[standing.id]
    for licence in bound.licences:
        if licence.verification == "recalled":
            yield f"licence {licence.id}: its text was not read for this catalog; verify it before use"
    intent = Intent(use=request.use, monthly_users=request.monthly_users, train_on_outputs=request.train_on_outputs)
    for finding in findings(bound, intent, standing.candidate.inputs):
        if finding.answer == "conditional":
            yield f"{finding.statement}: {_sentence(finding.clauses or pool.licences[finding.licence].conditions)}"


def _about_the_figures(standing: Standing, pool: Pool, losses: Mapping[str, str]) -> Iterator[str]:
    if standing.request_s is not None and standing.request_s > PATIENCE_S:
        read, written = standing.load.prompt_tokens, standing.load.output_tokens + standing.load.thinking_tokens
        yield (
            f"slow here: one request takes about {format_seconds(standing.request_s)} at the median speed "
            f"({read:,} tokens read, {written:,} written)"
        )
    if standing.quality.value is not None and not standing.quality.used:
        yield f"never tried on the task's benchmarks: its quality is {standing.quality.basis}, and counts at its low end"
    if standing.quality.evidence_class == "vendor":
        yield "every score it is ranked by was reported by a vendor, none by an independent evaluator"
    if standing.quality.value is not None and standing.quality.value < WEAK_QUALITY:
        yield (
            f"its quality {standing.quality.value:.2f} is near the worst of the catalog for this task: "
            "models without a score may well be better"
        )
    sized = standing.sized
    if sized is None:
        return
    lost = pool.points_lost(standing.candidate, sized)
    if sized.precision in losses and not sized.as_published and standing.quality.value is not None:
        counted = "" if lost is None else f"; counted as {lost.median:g} points of 100 ({lost.low:g} to {lost.high:g})"
        yield f"its scores were measured at 16 bit; loss at {sized.precision}: {losses[sized.precision]}{counted}"
    yield from sized.memory.warnings


def _sentence(conditions: tuple[str, ...]) -> str:
    return "; ".join(condition.rstrip(".") for condition in conditions)
