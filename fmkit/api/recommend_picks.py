"""One proposed model as `fmkit recommend` answers it: evidence, memory, speed, licence, cost, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.capabilities import estimated_evidence
from fmkit.api.summaries import licence_facts
from fmkit.api.vram_precisions import losses_of_engine
from fmkit.results.recommend import Cost, Evidence, Pick, Quality, ScoreParts
from fmkit.results.vram import Estimate
from fmkit.selection.cautions import cautions
from fmkit.selection.ranking import tied_with
from fmkit.selection.request import context_need
from fmkit.selection.task_units import task_units
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.api.recommend_question import Question
    from fmkit.selection.quality import Judgement
    from fmkit.selection.standing import Standing


def pick_of(standing: Standing, shown: Sequence[Standing], rank: int | None, question: Question) -> Pick:
    """A model that passes, as it is shown among the `shown` ones."""
    request, pool = question.request, question.pool
    candidate, sized = standing.candidate, standing.sized
    memory = None if sized is None else sized.memory
    return Pick(
        rank=rank,
        tied_with=tied_with(standing, shown),
        model=candidate.id,
        hub_id=candidate.hub_id,
        family=candidate.family,
        kind=candidate.spec_kind,
        tuning=candidate.tuning,
        modalities=tuple(candidate.inputs),
        precision=None if sized is None else sized.precision,
        engine=None if sized is None else request.engine,
        score=standing.score,
        parts=ScoreParts(**dict(standing.parts.items())),
        quality=_quality(standing.quality),
        memory=memory if isinstance(memory, Estimate) else None,
        speed=None if sized is None else sized.speed,
        task_units=task_units(standing, pool.task.units),
        licence=licence_facts(pool.bound_licences[standing.id]),
        cost=_cost(standing),
        warnings=cautions(standing, request, pool, losses_of_engine(request.engine, question.catalog)),
        next=_next_commands(standing, question),
        reasons=standing.reasons,
        devices_used=None if memory is None else memory.devices_used,
    )


def _quality(judged: Judgement) -> Quality:
    return Quality(
        value=judged.value,
        low=judged.low,
        high=judged.high,
        evidence=tuple(
            Evidence(
                benchmark=score.benchmark,
                variant=score.variant,
                score=score.score,
                unit=score.unit,
                source=score.source,
                date=score.source_date,
                reported_by=score.reported_by,
            )
            for score in judged.used
        ),
        missing=judged.missing,
        basis=judged.basis,
        estimated=tuple(estimated_evidence(judged)),
    )


def _cost(standing: Standing) -> Cost | None:
    cost = standing.cost
    if cost is None:
        return None
    return Cost(
        tokens_per_usd=_four_digits(cost.tokens_per_usd),
        usd_per_1m_tokens=_four_digits(cost.usd_per_1m_tokens),
        usd_per_month=_four_digits(cost.usd_per_month),
        break_even_utilisation=_four_digits(cost.break_even_utilisation),
        price_date=cost.price_date,
        assumption=cost.assumption,
    )


def _four_digits(figure: float | None) -> float | None:
    """Four significant digits: none of these figures is known better."""
    return None if figure is None else float(f"{figure:.4g}")


def _next_commands(standing: Standing, question: Question) -> tuple[str, ...]:
    if standing.sized is None:
        return (f"fmkit vram {standing.id}",)
    gpu, memory = question.asked.get("gpu"), question.asked.get("memory")
    used = standing.sized.memory
    if gpu:
        name = str(gpu).partition(":")[0]
        gpu = name if used.devices_used == 1 else f"{name}:{used.devices_used}"
    machine = f" --gpu {gpu}" if gpu else f" --memory {memory}" if memory else ""
    context = format_tokens(context_need(question.request, question.pool.task)).replace(",", "")
    precision, engine = standing.sized.precision, question.request.engine
    asked = "" if engine == "transformers" else f" --engine {engine}"
    asked += f" --tensor-parallel {used.tensor_parallel}" if used.tensor_parallel > 1 else ""
    stages = used.pipeline_parallel > 1 and (engine == "vllm" or not gpu)
    asked += f" --pipeline-parallel {used.pipeline_parallel}" if stages else ""
    sized = f"fmkit vram {standing.id}{machine}{asked} --precision {precision} --context {context}"
    return (sized, _trial(standing, engine, precision))


def _trial(standing: Standing, engine: str, precision: str) -> str:
    """How to try it in the engine it was judged in: a server by its address, GGUF files after a look at which there are."""
    if engine == "vllm":
        return f"fmkit try {standing.id} --engine http://localhost:8000/v1"
    if engine == "llama.cpp":
        return f"fmkit catalog variants {standing.candidate.hub_id or standing.id}"
    return f"fmkit try {standing.id} --precision {precision}"
