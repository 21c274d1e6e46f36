"""`fmkit recommend`: which model to use for a task, under constraints, with the evidence and the reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit import __version__
from fmkit.api.capabilities import estimated_evidence
from fmkit.api.pool import families, known, pool_for, sizer_for
from fmkit.api.resolve import resolve_machine
from fmkit.api.sizing import layout_for
from fmkit.api.vram_precisions import losses_of_engine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results import recommend as results
from fmkit.results.vram import Estimate, MachineSummary
from fmkit.selection import explain
from fmkit.selection.asking import build_request, unknown_name
from fmkit.selection.cautions import cautions
from fmkit.selection.phrase import Phrase, device_spellings, is_phrase, known_task, parse_phrase
from fmkit.selection.ranking import Selection, Standing, assess, select, tied_with
from fmkit.selection.request import context_need, weights_of
from fmkit.selection.scoring import weights_that_count
from fmkit.selection.task_units import task_units
from fmkit.selection.whatif import relaxations, sensitivities
from fmkit.units import format_tokens, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.api.search import Found
    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.selection.constraints import Exclusion
    from fmkit.selection.pool import Pool
    from fmkit.selection.request import Request

DEFAULT_TOP = 5


def recommend(
    task: str,
    *,
    gpu: str | None = None,
    memory: str | None = None,
    context: str | int | None = None,
    sequences: int | None = None,
    licence: str | Sequence[str] | None = None,
    use: str | None = None,
    region: str | None = None,
    monthly_users: int | None = None,
    train_on_outputs: bool = False,
    language: str | Sequence[str] | None = None,
    modality: str | Sequence[str] | None = None,
    min_tokens_per_s: float | None = None,
    max_ttft: str | float | None = None,
    min_quality: float | None = None,
    engine: str = "transformers",
    precision: str | Sequence[str] | None = None,
    open_only: bool = False,
    api_only: bool = False,
    data_stays_here: bool = False,
    released_after: str | None = None,
    requests_per_day: float | None = None,
    requests_per_s: float | None = None,
    prompt_tokens: str | int | None = None,
    output_tokens: str | int | None = None,
    weight: str | Sequence[str] | Mapping[str, float] | None = None,
    top: int = DEFAULT_TOP,
    why_not: str | None = None,
    exclude: str | Sequence[str] | None = None,
    only: str | Sequence[str] | None = None,
    trials: bool = True,
    search: str | None = None,
    copies: bool = False,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> results.RecommendResult:
    """The models to use for `task`, best first, with the evidence of each and the reason against every other.

    Parameters are the long options of `fmkit recommend`; `task` is a task id or a phrase, and what a phrase says is
    overridden by an option that is given. `search` looks for further models on the Hub (`""`: for the task alone); they
    are judged by the same constraints and never ranked. Raises UsageError for unknown names and values, with the nearest
    valid ones.
    """
    given: dict[str, Any] = {
        "context": context, "sequences": sequences, "licence": licence, "use": use, "region": region,
        "monthly_users": monthly_users, "train_on_outputs": train_on_outputs, "language": language, "modality": modality,
        "min_tokens_per_s": min_tokens_per_s, "max_ttft": max_ttft, "min_quality": min_quality, "precision": precision,
        "open_only": open_only, "api_only": api_only, "data_stays_here": data_stays_here, "released_after": released_after,
        "requests_per_day": requests_per_day, "requests_per_s": requests_per_s, "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens, "weight": weight, "exclude": exclude, "only": only, "gpu": gpu, "memory": memory,
    }  # fmt: skip
    if top < 1:
        raise UsageError(f"can't list {top} models: write a number of at least 1", where="--top")
    catalog = load_catalog()
    phrase = _read_task(task, catalog)
    asked = {
        **phrase.options,
        **{name: value for name, value in given.items() if value is not None and value is not False},
    }
    machine = _machine(asked, catalog, both_given=gpu is not None and memory is not None)
    machine = msgspec.structs.replace(machine, uses_trials=trials)
    layout_for(engine, "fp16", catalog)
    named = any(asked.get(name) for name in ("gpu", "memory", "here"))
    request = build_request(phrase.task, {**asked, "engine": engine}, known(catalog), hardware_named=named)
    pool = pool_for(catalog.tasks[phrase.task], request, machine, catalog)
    selection = select(request, pool)
    rejected = _model_id(why_not, catalog) if why_not is not None else None
    result = _result(selection, request, pool, catalog, phrase, asked, top=top, why_not=rejected)
    if search is None:
        return result
    from fmkit.api.search import search_hub  # noqa: PLC0415  the network client only when the Hub is asked

    found = search_hub(search, pool.task, catalog, copies=copies, offline=offline, progress=progress)
    return _with_found(result, found, request, pool, catalog, asked, top=top)


def _with_found(
    result: results.RecommendResult,
    found: Found,
    request: Request,
    pool: Pool,
    catalog: Catalog,
    asked: Mapping[str, Any],
    *,
    top: int,
) -> results.RecommendResult:
    """The recommendation with models of the Hub behind it: they pass the same constraints, and change no other's place."""
    wider = replace(
        pool,
        candidates=(*pool.candidates, *found.candidates),
        size=sizer_for(pool.task, request, pool.machine, catalog, specs=found.specs),
    )
    assessed = [assess(candidate, request, wider) for candidate in found.candidates]
    standings = [one for one in assessed if isinstance(one, Standing)]
    failed = [*(one[0] for one in assessed if not isinstance(one, Standing)), *found.excluded]
    picks = []
    for standing in standings[:top]:
        pick = _pick(standing, (), None, request, wider, catalog, asked)
        said = (*standing.candidate.notes, *pick.reasons)
        picks.append(msgspec.structs.replace(pick, origin="hub", live=found.facts[standing.id], reasons=said))
    rest = len(standings) - len(picks)
    note = f"{found.note}, {len(standings)} pass" + (f"; {rest} more than --top shows" if rest else "")
    return msgspec.structs.replace(
        result,
        picks=(*result.picks, *picks),
        excluded=(*result.excluded, *map(_excluded, failed)),
        warnings=(*result.warnings, note),
    )


def _excluded(found: Exclusion) -> results.Excluded:
    return results.Excluded(
        model=found.model, reason=found.reason, constraint=found.constraint, missed_by=found.missed_by
    )


def _read_task(text: str, catalog: Catalog) -> Phrase:
    if is_phrase(text):
        devices = device_spellings(catalog.devices, catalog.device_aliases)
        return parse_phrase(text, catalog.tasks, devices, families(catalog))
    task = known_task(text, catalog.tasks)
    return Phrase(task=task, options={}, understood={"task": text.strip()}, not_understood=())


def _machine(asked: Mapping[str, Any], catalog: Catalog, *, both_given: bool) -> Machine:
    """The machine asked about. A phrase may name a device and a size: the size is then what the device may spend."""
    gpu, memory = asked.get("gpu"), asked.get("memory")
    if gpu is None or memory is None or both_given:
        return resolve_machine(gpu, memory, catalog)
    machine = resolve_machine(gpu, None, catalog)
    cap = min(parse_size(memory, where="TASK"), machine.usable_bytes)
    return msgspec.structs.replace(machine, usable_bytes=cap, reserve_reason=f"at most {memory} of it, as asked")


def _model_id(name: str, catalog: Catalog) -> str:
    found = catalog.resolve(name)
    if found is None:
        catalog.refuse_if_left_out(name)
        raise unknown_name("model", name, catalog.model_ids(), where="--why-not", next_command="fmkit catalog list")
    return found


def _result(
    selection: Selection,
    request: Request,
    pool: Pool,
    catalog: Catalog,
    phrase: Phrase,
    asked: Mapping[str, Any],
    *,
    top: int,
    why_not: str | None,
) -> results.RecommendResult:
    shown = selection.standings[:top]
    ranked = selection.unranked is None
    return results.RecommendResult(
        fmkit=__version__,
        catalog=catalog.date,
        task=pool.task.id,
        understood=_understood(phrase, request, pool),
        constraints=_constraints(request),
        ranked=ranked,
        verdict=explain.verdict(selection, request, pool),
        picks=tuple(
            _pick(standing, shown, rank + 1 if standing.score is not None else None, request, pool, catalog, asked)
            for rank, standing in enumerate(shown)
        ),
        views=results.Views(
            cheapest=explain.cheapest(selection.standings),
            fastest=explain.fastest(selection.standings),
            best=explain.best(selection.standings) if ranked else None,
            smallest=explain.smallest(selection.standings),
            pareto=explain.pareto(selection.ranked),
        ),
        excluded=tuple(map(_excluded, selection.excluded)),
        relax=tuple(
            results.Relaxation(constraint=r.constraint, to=r.to, would_add=r.would_add)
            for r in relaxations(selection, request, pool)
        ),
        sensitivity=tuple(
            results.Sensitivity(change=c.change, new_winner=c.new_winner)
            for c in sensitivities(selection, request, pool)
        ),
        warnings=_warnings(phrase, selection, request, pool),
        machine=_machine_summary(pool.machine),
        why_not=explain.why_not(why_not, selection, request, pool) if why_not is not None else (),
    )


def _understood(phrase: Phrase, request: Request, pool: Pool) -> dict[str, Any]:
    """The question as it was understood: from which words, and what the task's defaults filled in."""
    task = pool.task
    return {
        "task": task.name,
        "words": phrase.understood,
        "not_understood": list(phrase.not_understood),
        "context_tokens": context_need(request, task),
        "prompt_tokens": request.prompt_tokens or task.prompt_tokens,
        "output_tokens": task.output_tokens if request.output_tokens is None else request.output_tokens,
        "weights": {part: round(weight, 4) for part, weight in weights_of(request, task).items()},
    }


def _constraints(request: Request) -> dict[str, Any]:
    """What was asked for, by name; nothing that is at its default."""
    asked: dict[str, Any] = msgspec.to_builtins(request)
    for name in ("task", "weights", "prompt_tokens", "output_tokens"):
        asked.pop(name, None)
    return asked


def _machine_summary(machine: Machine) -> MachineSummary:
    device = machine.device
    return MachineSummary(
        name=machine.name,
        origin=machine.origin,
        device=None if device is None else device.id,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=None,  # what is free changes by the second; the answer must not
        source=(None if device is None else device.sources.get("memory")) or machine.reserve_reason or None,
    )


def _warnings(phrase: Phrase, selection: Selection, request: Request, pool: Pool) -> tuple[str, ...]:
    found = []
    if phrase.not_understood:
        found.append(f"not understood: {', '.join(phrase.not_understood)}")
    if request.domain is not None:
        found.append(
            f"{request.domain}: no comparable scores for this domain; models trained for it come first among equals only"
        )
    if selection.unranked is not None:
        found.append(f"{pool.task.id} is not ranked: {selection.unranked}")
    else:
        unscored = sum(standing.parts.quality is None for standing in selection.unscored)
        if unscored:
            found.append(
                f"{unscored} model{'s pass' if unscored > 1 else ' passes'} without a comparable score for {pool.task.id}: "
                "not ranked, listed last"
            )
        slow = sum(s.speed_unknown and s.parts.quality is not None for s in selection.unscored)
        if slow:
            found.append(
                f"{slow} model{'s' if slow > 1 else ''} with an unknown speed on {pool.machine.name}: not ranked, listed last"
            )
    if pool.machine.count > 1 and "cost" not in weights_that_count(request, pool):
        found.append(
            "cost does not count in the score: one sequence on several cards says nothing about serving; give --sequences"
        )
    sized = [standing.sized for standing in selection.standings if standing.sized is not None]
    if sized and all(one.speed is None for one in sized):
        found.append(
            f"no speed is predicted on {pool.machine.name}: its bandwidth is not known; name a device with --gpu"
        )
    return tuple(found)


def _pick(
    standing: Standing,
    shown: Sequence[Standing],
    rank: int | None,
    request: Request,
    pool: Pool,
    catalog: Catalog,
    asked: Mapping[str, Any],
) -> results.Pick:
    candidate, sized, judged = standing.candidate, standing.sized, standing.quality
    memory = None if sized is None else sized.memory
    return results.Pick(
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
        parts=results.ScoreParts(**dict(standing.parts.items())),
        quality=results.Quality(
            value=judged.value,
            low=judged.low,
            high=judged.high,
            evidence=tuple(
                results.Evidence(
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
        ),
        memory=memory if isinstance(memory, Estimate) else None,
        speed=None if sized is None else sized.speed,
        task_units=task_units(standing, pool.task.units),
        licence=_licence(standing, pool),
        cost=_cost(standing),
        warnings=cautions(standing, request, pool, losses_of_engine(request.engine, catalog)),
        next=_next_commands(standing, request, pool, asked),
        reasons=standing.reasons,
    )


def _licence(standing: Standing, pool: Pool) -> results.LicenceFacts:
    bound = pool.bound_licences[standing.id]
    binding = bound.binding
    return results.LicenceFacts(
        id=binding.id,
        licence_class=binding.licence_class,
        commercial=binding.commercial,
        conditions=bound.conditions,
        source=binding.source,
        verified=all(licence.verification != "recalled" for licence in bound.licences),
    )


def _cost(standing: Standing) -> results.Cost | None:
    cost = standing.cost
    if cost is None:
        return None
    return results.Cost(
        tokens_per_usd=_short(cost.tokens_per_usd),
        usd_per_1m_tokens=_short(cost.usd_per_1m_tokens),
        usd_per_month=_short(cost.usd_per_month),
        break_even_utilisation=_short(cost.break_even_utilisation),
        price_date=cost.price_date,
        assumption=cost.assumption,
    )


def _short(figure: float | None) -> float | None:
    """Four significant digits: none of these figures is known better."""
    return None if figure is None else float(f"{figure:.4g}")


def _next_commands(standing: Standing, request: Request, pool: Pool, asked: Mapping[str, Any]) -> tuple[str, ...]:
    if standing.sized is None:
        return (f"fmkit vram {standing.id}",)
    gpu, memory = asked.get("gpu"), asked.get("memory")
    machine = f" --gpu {gpu}" if gpu else f" --memory {memory}" if memory else ""
    context = format_tokens(context_need(request, pool.task)).replace(",", "")
    precision = standing.sized.precision
    return (
        f"fmkit vram {standing.id}{machine} --precision {precision} --context {context}",
        f"fmkit try {standing.id} --precision {precision}",
    )
