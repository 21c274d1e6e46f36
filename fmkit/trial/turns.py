"""Calls timed in turns: a slow moment of the machine is no more than a part of each one's rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

VISITS = 3
TOO_SLOW_S = 0.5
"""A call that takes longer is timed once."""

SHORT_S = 0.1
"""A call that takes less is done once at the start of each visit without being timed: it follows another one, not itself."""

NO_KERNEL = (RuntimeError, ValueError)
"""What torch raises where a device has no kernel for a call, or no memory."""

Round = tuple[float, ...]
"""Seconds of one round, by part."""


def in_turns(calls: Sequence[Callable[[], Round]], slice_s: float, visits: int = VISITS) -> list[list[Round]]:
    """The rounds of each call, for about `slice_s` seconds each, spread over several visits. A call does one round, and returns its seconds.

    The first rounds do not count. A call that the device has no kernel or no memory for has no rounds.
    """
    first_s = [_first_s(call) for call in calls]
    rounds: list[list[Round]] = [[] for _ in calls]
    for _ in range(visits):
        for call, seconds, found in zip(calls, first_s, rounds, strict=True):
            if seconds is None or (found and seconds > TOO_SLOW_S):
                continue
            if seconds < SHORT_S:
                call()
            found.extend(_visit(call, slice_s / visits))
    return rounds


def _visit(call: Callable[[], Round], slice_s: float) -> list[Round]:
    """Rounds for so many seconds, at least one."""
    end = time.perf_counter() + slice_s
    rounds = [call()]
    while time.perf_counter() < end:
        rounds.append(call())
    return rounds


def _first_s(call: Callable[[], Round]) -> float | None:
    """Seconds of the second round, for the first may prepare what others find; of the first where it takes long. None without a kernel."""
    try:
        seconds = sum(call())
        return seconds if seconds > TOO_SLOW_S else sum(call())
    except NO_KERNEL:
        return None
