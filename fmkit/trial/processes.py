"""Memory and work of other processes and their children, as the kernel counts them. Unknown is None, never 0."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

FAMILY_S = 0.5
"""How long a list of children is believed: reading it costs more than reading memory."""


class ProcessFamily:
    """Some processes with their children and children's children."""

    def __init__(self, pids: Sequence[int], proc: Path = PROC) -> None:
        self._pids = tuple(pids)
        self._proc = proc
        self._known: tuple[int, ...] = ()
        self._known_until_s = 0.0

    def resident_bytes(self) -> int | None:
        """Memory they hold now, files that they have mapped included; pages that two of them share count twice."""
        if sys.platform != "linux":
            return _resident_elsewhere(self._pids)
        pages = [_resident_pages(self._proc / str(pid)) for pid in self._members()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def work(self) -> tuple[int, ...] | None:
        """Counters that stand still while none of them does anything: time on a processor, bytes read and written, pages read in.

        None where this system does not say.
        """
        if sys.platform != "linux":
            return None
        counters = [_work(self._proc / str(pid)) for pid in self._members()]
        return tuple(sum(column) for column in zip(*counters, strict=True))

    def _members(self) -> tuple[int, ...]:
        now_s = time.monotonic()
        if now_s >= self._known_until_s:
            self._known, self._known_until_s = self._family(), now_s + FAMILY_S
        return self._known

    def _family(self) -> tuple[int, ...]:
        """All of them now, from the list of children that each thread has (proc_pid_children(5))."""
        found: list[int] = []
        waiting = list(self._pids)
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with suppress(OSError):  # it has ended, also in the middle of listing its threads
                for children in (self._proc / str(pid) / "task").glob("*/children"):
                    with suppress(OSError, ValueError):
                        waiting += [int(child) for child in children.read_text(encoding="ascii").split()]
        return tuple(found)


def _resident_pages(process: Path) -> int:
    """The second field of statm; 0 for a process that has ended."""
    try:
        return int((process / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _work(process: Path) -> tuple[int, int, int]:
    """Ticks on a processor and pages read in (proc_pid_stat(5): utime, stime, majflt), bytes read and written (proc_pid_io(5))."""
    ticks = faults = moved = 0
    with suppress(OSError, ValueError, IndexError):
        fields = (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        faults, ticks = int(fields[9]), int(fields[11]) + int(fields[12])
    with suppress(OSError, ValueError, IndexError):
        lines = (process / "io").read_text(encoding="ascii").splitlines()
        moved = sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar", "read_bytes")))
    return ticks, faults, moved


def _resident_elsewhere(pids: Sequence[int]) -> int | None:
    """The same by psutil, which comes with the extra `try`; None without it."""
    try:
        import psutil  # noqa: PLC0415  of use on other systems only
    except ModuleNotFoundError:
        return None
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
    return total
