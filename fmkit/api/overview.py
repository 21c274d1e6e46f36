"""`fmkit` alone: the best model of the commonest tasks for this machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from fmkit import __version__
from fmkit.api.catalog_sizer import PreparedModels
from fmkit.api.machines import this_machine
from fmkit.api.pool import known, pool_for
from fmkit.api.sizing import PreparedLayouts
from fmkit.catalog.load import load_catalog
from fmkit.results.overview import BestModel, OverviewResult
from fmkit.selection.asking import build_request
from fmkit.selection.explain import verdict
from fmkit.selection.ranking import select
from fmkit.selection.request import USABLE_TOKENS_PER_S
from fmkit.selection.task_units import task_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.selection.standing import Standing
    from fmkit.speed.estimate import SpeedEstimate

TASKS = ("chat", "code", "embedding", "transcription")


UNQUANTISED = frozenset({"fp32", "fp16"})
"""Precisions that run without an optional quantiser."""
USABLE_TEXTS_PER_S = 1.0
"""A model that only reads is of use from about one input a second on (assumed)."""


def overview() -> OverviewResult:
    """One recommendation per task, of models whose weights run here; nothing leaves this machine."""
    catalog = load_catalog()
    machine = this_machine(catalog)
    prepared = PreparedModels(PreparedLayouts)
    return OverviewResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        machine=machine.name,
        usable_bytes=machine.usable_bytes,
        models=tuple(_best(task, machine, catalog, prepared) for task in TASKS),
    )


def can_quantise(machine: Machine) -> bool:
    """Whether the optional quantiser is installed and of use: on a processor nobody measured what it does to the speed."""
    on_cpu = machine.device is None or machine.device.device_class == "cpu"
    return not on_cpu and find_spec("bitsandbytes") is not None


class Proposal(Protocol):
    """What is looked at of a model that passes."""

    @property
    def precision(self) -> str | None:
        """The precision it would run at."""

    @property
    def speed(self) -> SpeedEstimate | None:
        """How fast, where that is known."""

    @property
    def task_units(self) -> Mapping[str, object]:
        """Speed in the task's own units."""


Proposed = TypeVar("Proposed", bound=Proposal)


def proposal(passing: Sequence[Proposed], *, quantises: bool) -> Proposed | None:
    """The first whose speed is known and usable, of those that run without a quantiser unless there is one.

    Where no median is usable, a speed whose fast end is will do; an unknown one never does.
    """
    plain = [one for one in passing if quantises or one.precision in UNQUANTISED]
    tries = ((plain, _usable), (plain, _perhaps_usable), (passing, _usable))
    return next((one for some, test in tries for one in some if test(one)), None)


def _usable(pick: Proposal) -> bool:
    speed = pick.speed
    if speed is None:
        return False
    if speed.decode_tokens_per_s is not None:
        return speed.decode_tokens_per_s.median >= USABLE_TOKENS_PER_S
    texts_per_s = pick.task_units.get("texts_per_s")
    return isinstance(texts_per_s, (int, float)) and texts_per_s >= USABLE_TEXTS_PER_S


def _perhaps_usable(pick: Proposal) -> bool:
    speed = pick.speed
    if speed is None:
        return False
    rate = speed.decode_tokens_per_s
    return speed.prefill_tokens_per_s is not None if rate is None else rate.high >= USABLE_TOKENS_PER_S


class _Passing(NamedTuple):
    """A model that passes, as far as is looked at here."""

    standing: Standing
    precision: str | None
    speed: SpeedEstimate | None
    task_units: Mapping[str, object]


def _best(task: str, machine: Machine, catalog: Catalog, prepared: PreparedModels) -> BestModel:
    request = build_request(task, {"open_only": True}, known(catalog), hardware_named=False)
    pool = pool_for(catalog.tasks[task], request, machine, catalog, prepared)
    selection = select(request, pool)
    passing = [
        _Passing(
            standing,
            None if standing.sized is None else standing.sized.precision,
            None if standing.sized is None else standing.sized.speed,
            task_units(standing, pool.task.units),
        )
        for standing in selection.standings
    ]
    found = proposal(passing, quantises=can_quantise(machine))
    if found is None:
        return BestModel(
            task=task,
            model=None,
            precision=None,
            peak_bytes=None,
            decode_tokens_per_s=None,
            licence=None,
            next=f"fmkit recommend {task}",
            reason=f"no model for {task} has a speed that is known and usable here"
            if passing
            else verdict(selection, request, pool),
        )
    model, sized = found.standing.id, found.standing.sized
    return BestModel(
        task=task,
        model=model,
        precision=found.precision,
        peak_bytes=None if sized is None else sized.memory.peak_bytes,
        decode_tokens_per_s=None if found.speed is None else found.speed.decode_tokens_per_s,
        texts_per_s=None if found.speed is None else found.speed.texts_per_s,
        real_time_factor=None if found.speed is None else found.speed.real_time_factor,
        licence=pool.bound_licences[model].binding.id,
        next=f"fmkit try {model} --precision {found.precision}" if found.precision else f"fmkit recommend {task}",
        reason=verdict(selection, request, pool)
        if found is passing[0]
        else f"{model}: the first for {task} whose speed here is known and usable",
    )
