"""`fmkit recommend`: which model to use for a task, under constraints, with the evidence and the reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.api.catalog_sizer import CatalogSizer
from fmkit.api.recommend_answer import answer, excluded
from fmkit.api.recommend_picks import pick_of
from fmkit.api.recommend_question import read_question
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.selection.asking import unknown_name
from fmkit.selection.ranking import select
from fmkit.selection.standing import Standing, assess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.api.recommend_question import Question
    from fmkit.api.search import Found
    from fmkit.catalog.load import Catalog
    from fmkit.results.recommend import RecommendResult

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
    engine: str | None = None,
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
) -> RecommendResult:
    """The models to use for `task`, best first, with the evidence of each and the reason against every other.

    Parameters are the long options of `fmkit recommend`; `task` is a task id or a phrase, and what a phrase says is
    overridden by an option that is given. Without `engine` models are judged in the one that people run on such a machine
    (`default_engine`). `search` looks for further models on the Hub (`""`: for the task alone); they
    are judged by the same constraints and never ranked. Raises UsageError for unknown names and values, with the nearest
    valid ones.
    """
    options: dict[str, Any] = {
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
    question = read_question(task, options, catalog, engine=engine, uses_trials=trials)
    rejected = _model_id(why_not, catalog) if why_not is not None else None
    result = answer(select(question.request, question.pool), question, top=top, why_not=rejected)
    if search is None:
        return result
    from fmkit.api.search import search_hub  # noqa: PLC0415  the network client only when the Hub is asked

    found = search_hub(search, question.pool.task, catalog, copies=copies, offline=offline, progress=progress)
    return _with_found(result, found, question, top=top)


def _with_found(result: RecommendResult, found: Found, question: Question, *, top: int) -> RecommendResult:
    """The recommendation with models of the Hub behind it: they pass the same constraints, and change no other's place."""
    pool, request = question.pool, question.request
    wider = replace(
        pool,
        candidates=(*pool.candidates, *found.candidates),
        size=CatalogSizer(pool.task, request, pool.machine, question.catalog, specs=found.specs),
    )
    assessed = [assess(candidate, request, wider) for candidate in found.candidates]
    standings = [one for one in assessed if isinstance(one, Standing)]
    failed = [*(one[0] for one in assessed if not isinstance(one, Standing)), *found.excluded]
    picks = []
    for standing in standings[:top]:
        pick = pick_of(standing, (), None, question._replace(pool=wider))
        said = (*standing.candidate.notes, *pick.reasons)
        picks.append(msgspec.structs.replace(pick, origin="hub", live=found.facts[standing.id], reasons=said))
    rest = len(standings) - len(picks)
    note = f"{found.note}, {len(standings)} pass" + (f"; {rest} more than --top shows" if rest else "")
    return msgspec.structs.replace(
        result,
        picks=(*result.picks, *picks),
        excluded=(*result.excluded, *map(excluded, failed)),
        warnings=(*result.warnings, note),
    )


def _model_id(name: str, catalog: Catalog) -> str:
    found = catalog.resolve(name)
    if found is None:
        catalog.refuse_if_left_out(name)
        raise unknown_name("model", name, catalog.model_ids(), where="--why-not", next_command="fmkit catalog list")
    return found
