"""How much of this machine's processors other programs use while this process waits or works."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_S = 0.2
FEWEST_TICKS = 20
"""Clock ticks below which a share is no better than a guess: a tenth of a second of two processors."""
_IDLE = slice(3, 5)
"""Columns of /proc/stat: idle, and waiting for input or output."""


class Others:
    """Watches the processors from its making on."""

    def __init__(self) -> None:
        self._before = _times()
        self._own_before_s = time.process_time()

    def share(self) -> float | None:
        """Share of all processors' time since then that was neither idle nor this process's own, 0 to 1.

        None where the system does not say, or too little time has passed.
        """
        after, own_s = _times(), time.process_time() - self._own_before_s
        if self._before is None or after is None:
            return None
        spent = [late - early for early, late in zip(self._before, after, strict=False)]
        total = sum(spent)
        if total < FEWEST_TICKS:
            return None
        used = total - sum(spent[_IDLE]) - own_s * os.sysconf("SC_CLK_TCK")
        return round(min(1.0, max(0.0, used / total)), 3)


def busy_share(seconds: float = LOOK_S) -> float | None:
    """What others use of the processors while this process waits so long."""
    others = Others()
    time.sleep(seconds)
    return others.share()


def _times() -> list[int] | None:
    """Clock ticks by kind since the start, over all processors (man 5 proc); guest time is part of user time."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return [int(word) for word in words[1:9]]
    except (OSError, ValueError):
        return None
