"""How much of this machine's processors others are using right now."""

from __future__ import annotations

import time
from pathlib import Path

LOOK_S = 0.2
_IDLE = slice(3, 5)
"""Columns of /proc/stat: idle, and waiting for input or output."""


def busy_share(seconds: float = LOOK_S) -> float | None:
    """Share of all processors' time that was not idle during so many seconds of waiting, 0 to 1; None where the system does not say."""
    before = _times()
    time.sleep(seconds if before else 0)
    after = _times()
    if before is None or after is None:
        return None
    spent = [late - early for early, late in zip(before, after, strict=False)]
    total = sum(spent)
    return None if total <= 0 else round(1 - sum(spent[_IDLE]) / total, 3)


def _times() -> list[int] | None:
    """Clock ticks by kind since the start, over all processors (man 5 proc); guest time is part of user time."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return [int(word) for word in words[1:9]]
    except (OSError, ValueError):
        return None
