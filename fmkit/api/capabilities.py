"""What models are capable of, task by task: for `fmkit compare` and `fmkit catalog show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.results.capability import EstimatedEvidence, TaskCapability
from fmkit.selection.estimated_scores import task_estimates
from fmkit.selection.pool import task_mismatch
from fmkit.selection.quality import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.selection.quality import Judgement


def capabilities(models: Sequence[str], catalog: Catalog) -> dict[str, tuple[TaskCapability, ...]]:
    """The quality of each model at every task that one of them is meant for, by model, among all models of the catalog.

    Tasks without comparable scores are there with no value and the reason; a task that a model is not meant for is left out.
    """
    everybody = catalog.candidates()
    found: dict[str, list[TaskCapability]] = {model: [] for model in models}
    for task in catalog.tasks.values():
        meant = [c for c in everybody if not task_mismatch(c, task)]
        asked = [c.id for c in meant if c.id in found]
        if not asked:
            continue
        if task.unranked is not None:
            for model in asked:
                found[model].append(TaskCapability(task=task.id, basis="not ranked", reason=task.unranked))
            continue
        estimates = task_estimates(task, meant, catalog.capability, catalog.abilities)
        judged = judge(task, meant, estimates, catalog.capability.offsets)
        for model in asked:
            found[model].append(_capability(task.id, judged[model]))
    return {model: tuple(rows) for model, rows in found.items()}


def _capability(task: str, judged: Judgement) -> TaskCapability:
    return TaskCapability(
        task=task,
        value=judged.value,
        low=judged.low,
        high=judged.high,
        basis=judged.basis,
        measured=tuple(score.benchmark for score in judged.used),
        estimated=tuple(estimated_evidence(judged)),
    )


def estimated_evidence(judged: Judgement) -> Iterable[EstimatedEvidence]:
    """The estimates of a judgement, as results show them."""
    for benchmark, one in judged.estimated.items():
        yield EstimatedEvidence(
            benchmark=benchmark, score=one.value, low=one.low, high=one.high, from_scores=one.scores, basis=one.basis
        )
