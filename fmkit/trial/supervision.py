"""Watching running processes from outside: above the memory limit, too long in one phase, or doing nothing, they are to be ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from fmkit.errors import TrialFailedError
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.trial.processes import ProcessFamily
from fmkit.trial.request import Phase, TrialFailure, TrialRequest
from fmkit.units import format_bytes, format_seconds

DEADLINES_S: Mapping[Phase, float] = {"start": 600.0, "warm-up": 600.0}
"""Phases whose work does not grow with the model."""

DEADLINE_S = 3600.0
"""Of every other phase, unless its prediction is longer or the user says otherwise."""

IDLE_S = 120.0
"""Processes of which none had a processor, read or wrote a byte or waited for a page for so long will not go on."""

MEMORY_EVERY_S = 0.01
"""Between two looks at memory under a limit. A processor fills some 50 MB in that time."""

EVERY_S = 0.1
"""Between two looks without a limit."""

WORK_EVERY_S = 1.0

IDLE_TICKS = 5
"""Hundredths of a second on a processor in `WORK_EVERY_S` that are no work: the watch on stdin and the interpreter's own threads."""


class Supervised(Protocol):
    """A running process."""

    phase: Phase
    phase_since_s: float

    @property
    def pid(self) -> int:
        """Its id."""
        ...

    @property
    def doing(self) -> str:
        """The phase in words."""
        ...

    def ended_within(self, seconds: float) -> bool:
        """Whether it has ended; waits so long for that."""
        ...


def supervise(children: Sequence[Supervised], request: TrialRequest, timeout_s: float | None = None) -> None:
    """Return when all children have ended, or one that others wait for has.

    Raises OutOfMemoryError when together they hold more than the request's limit, and TrialFailedError when a phase takes longer
    than `timeout_s` (by default `DEADLINES_S`) or nobody does anything any more. The caller ends them.
    """
    family = ProcessFamily([child.pid for child in children])
    idleness = _Idleness(family)
    limit_bytes = limit_on_process(request)
    every_s = EVERY_S if limit_bytes is None else MEMORY_EVERY_S
    while not any(child.ended_within(every_s / len(children)) for child in children):
        if limit_bytes is not None:
            _check_memory(family, limit_bytes, children[0], request)
        for child in children:
            _check_time(child, timeout_s, request)
        idle_s = idleness.seconds()
        if idle_s > IDLE_S and not _waits_for_hosts(request):
            raise TrialFailedError(
                f"{children[0].doing} hung: nothing was computed, read or written for {format_seconds(idle_s)}, and it was stopped",
                where=request.model,
            )


def _waits_for_hosts(request: TrialRequest) -> bool:
    """Whether somebody on another host may be the one who works."""
    return request.ranks is not None and request.ranks.hosts > 1


def limit_on_process(request: TrialRequest) -> int | None:
    """The limit on what processes may hold in main memory; on a device the limit is on the device's memory."""
    return request.limit_bytes if request.device == "cpu" else None


def _check_memory(family: ProcessFamily, limit_bytes: int, child: Supervised, request: TrialRequest) -> None:
    held = family.resident_bytes()
    if held is None or held <= limit_bytes:
        return
    message = (
        f"{format_bytes(held)} were resident, more than the limit of {format_bytes(limit_bytes)}, and it was killed"
    )
    failure = TrialFailure(kind="out-of-memory", phase=child.phase, message=message, held_bytes=held)
    raise OutOfMemoryError(failure, child.doing, where=request.model)


def _check_time(child: Supervised, timeout_s: float | None, request: TrialRequest) -> None:
    deadline_s = DEADLINES_S.get(child.phase, DEADLINE_S) if timeout_s is None else timeout_s
    if time.monotonic() - child.phase_since_s > deadline_s:
        raise TrialFailedError(
            f"{child.doing} took longer than {format_seconds(deadline_s)}, and was stopped",
            where=request.model,
            next_command="--timeout DURATION gives every phase more time, --context and --layers give it less to do",
        )


class _Idleness:
    """How long a family has done nothing."""

    def __init__(self, family: ProcessFamily) -> None:
        self._family = family
        self._looked_s = self._busy_s = time.monotonic()
        self._work = family.work()

    def seconds(self) -> float:
        """Seconds since work was last seen; 0 where this system does not say."""
        now_s = time.monotonic()
        if self._work is None or now_s - self._looked_s < WORK_EVERY_S:
            return 0.0 if self._work is None else now_s - self._busy_s
        work = self._family.work()
        if work is None or _worked(self._work, work):
            self._busy_s = now_s
        self._work, self._looked_s = work, now_s
        return now_s - self._busy_s


def _worked(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether the counters (ticks, pages, bytes) moved by more than a process that waits moves them.

    >>> _worked((100, 7, 4096), (102, 7, 4096)), _worked((100, 7, 4096), (190, 7, 4096)), _worked((100, 7, 4096), (100, 7, 8192))
    (False, True, True)
    """
    ticks, *others = (new - old for new, old in zip(after, before, strict=True))
    return ticks > IDLE_TICKS or any(others)
