"""Programs that a test starts and kills: at random moments that a seed fixes, and with what became of their children."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def moments(count: int, first_s: float, last_s: float, seed: int = 20261128) -> list[float]:
    """So many seconds after a start, between the two."""
    chosen = random.Random(seed)
    return [chosen.uniform(first_s, last_s) for _ in range(count)]


def started(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """A Python program of this checkout, with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_signals,  # noqa: PLW1509  no thread runs yet
    )


def _heed_signals() -> None:
    """Undo what a test run in the background, or under nohup, hands down: signals that are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines of its stderr up to the one with those words."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"it ended without {words!r}: {lines}")


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes it has started and not yet waited for, once there are any."""
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if found:
            return [int(pid) for pid in found]
        time.sleep(0.01)
    raise AssertionError("it started no process")


def is_running(pid: int) -> bool:
    """Whether a process lives; one that waits for its end to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def all_end(pids: Sequence[int], within_s: float = 5.0) -> bool:
    """Whether all of them have ended within that time."""
    until = time.monotonic() + within_s
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def kill(process: subprocess.Popen[str]) -> None:
    """Kill -9, and wait for the end."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
