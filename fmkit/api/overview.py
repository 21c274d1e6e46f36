"""`fmkit` alone: the best model of the commonest tasks for this machine."""

from __future__ import annotations

from fmkit import __version__
from fmkit.api.recommend import recommend
from fmkit.results.overview import BestModel, OverviewResult
from fmkit.results.recommend import RecommendResult

TASKS = ("chat", "code", "embedding", "transcription")


def overview() -> OverviewResult:
    """One recommendation per task, of models whose weights run here; nothing leaves this machine."""
    answers = {task: recommend(task, open_only=True, top=1) for task in TASKS}
    first = answers[TASKS[0]]
    machine = first.machine
    return OverviewResult(
        fmkit=__version__,
        catalog=first.catalog,
        machine=machine.name if machine is not None else "this machine",
        usable_bytes=machine.usable_bytes if machine is not None else 0,
        models=tuple(_best(task, answer) for task, answer in answers.items()),
    )


def _best(task: str, answer: RecommendResult) -> BestModel:
    if not answer.picks:
        return BestModel(
            task=task,
            model=None,
            precision=None,
            peak_bytes=None,
            decode_tokens_per_s=None,
            licence=None,
            next=f"fmkit recommend {task}",
            reason=answer.verdict,
        )
    pick = answer.picks[0]
    return BestModel(
        task=task,
        model=pick.model,
        precision=pick.precision,
        peak_bytes=pick.memory.peak_bytes if pick.memory is not None else None,
        decode_tokens_per_s=pick.speed.decode_tokens_per_s if pick.speed is not None else None,
        licence=pick.licence.id,
        next=f"fmkit try {pick.model} --precision {pick.precision}" if pick.precision else f"fmkit recommend {task}",
        reason=answer.verdict,
    )
