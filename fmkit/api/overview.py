"""`fmkit` alone: the best model of the commonest tasks for this machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.recommend import recommend
from fmkit.api.resolve import this_machine
from fmkit.catalog.load import load_catalog
from fmkit.results.overview import BestModel, OverviewResult
from fmkit.selection.request import USABLE_TOKENS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Machine
    from fmkit.results.recommend import Pick, RecommendResult

TASKS = ("chat", "code", "embedding", "transcription")


UNQUANTISED = frozenset({"fp32", "fp16"})
"""Precisions that run without an optional quantiser."""
USABLE_TEXTS_PER_S = 1.0
"""A model that only reads is of use from about one input a second on (assumed)."""
EVERYTHING = 10_000


def overview() -> OverviewResult:
    """One recommendation per task, of models whose weights run here; nothing leaves this machine."""
    machine = this_machine(load_catalog())
    answers = {task: recommend(task, open_only=True, top=EVERYTHING) for task in TASKS}
    quantises = can_quantise(machine)
    return OverviewResult(
        fmkit=__version__,
        catalog=answers[TASKS[0]].catalog,
        machine=machine.name,
        usable_bytes=machine.usable_bytes,
        models=tuple(
            _best(task, answer, proposal(answer.picks, quantises=quantises)) for task, answer in answers.items()
        ),
    )


def can_quantise(machine: Machine) -> bool:
    """Whether the optional quantiser is installed and of use: on a processor nobody measured what it does to the speed."""
    on_cpu = machine.device is None or machine.device.device_class == "cpu"
    return not on_cpu and find_spec("bitsandbytes") is not None


def proposal(picks: Sequence[Pick], *, quantises: bool) -> Pick | None:
    """The first pick whose speed is known and usable, of those that run without a quantiser unless there is one.

    Where no median is usable, a speed whose fast end is will do; an unknown one never does.
    """
    plain = [pick for pick in picks if quantises or pick.precision in UNQUANTISED]
    tries = ((plain, _usable), (plain, _perhaps_usable), (picks, _usable))
    return next((pick for some, test in tries for pick in some if test(pick)), None)


def _usable(pick: Pick) -> bool:
    speed = pick.speed
    if speed is None:
        return False
    if speed.decode_tokens_per_s is not None:
        return speed.decode_tokens_per_s.median >= USABLE_TOKENS_PER_S
    texts_per_s = pick.task_units.get("texts_per_s")
    return isinstance(texts_per_s, (int, float)) and texts_per_s >= USABLE_TEXTS_PER_S


def _perhaps_usable(pick: Pick) -> bool:
    speed = pick.speed
    if speed is None:
        return False
    rate = speed.decode_tokens_per_s
    return speed.prefill_tokens_per_s is not None if rate is None else rate.high >= USABLE_TOKENS_PER_S


def _best(task: str, answer: RecommendResult, pick: Pick | None) -> BestModel:
    if pick is None:
        return BestModel(
            task=task,
            model=None,
            precision=None,
            peak_bytes=None,
            decode_tokens_per_s=None,
            licence=None,
            next=f"fmkit recommend {task}",
            reason=f"no model for {task} has a speed that is known and usable here" if answer.picks else answer.verdict,
        )
    first = answer.picks[0].model == pick.model
    return BestModel(
        task=task,
        model=pick.model,
        precision=pick.precision,
        peak_bytes=pick.memory.peak_bytes if pick.memory is not None else None,
        decode_tokens_per_s=pick.speed.decode_tokens_per_s if pick.speed is not None else None,
        licence=pick.licence.id,
        next=f"fmkit try {pick.model} --precision {pick.precision}" if pick.precision else f"fmkit recommend {task}",
        reason=answer.verdict if first else f"{pick.model}: the first for {task} whose speed here is known and usable",
    )
