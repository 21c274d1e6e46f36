"""What others use of the processors, with and without this process's own work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmkit.trial import others
from fmkit.trial.others import Others

LOOK_S = 0.5


def test_another_process_is_seen() -> None:
    if not Path("/proc/stat").exists():
        pytest.skip("only Linux says it")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        time.sleep(0.1)
        watched = Others()
        time.sleep(LOOK_S)
        share = watched.share()
        busy.kill()
    assert share is not None
    assert share > 0.5 / (os.cpu_count() or 1)


def test_own_work_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors for a second: this process works on one, another uses half of the second."""
    ticks = os.sysconf("SC_CLK_TCK")
    looks = iter([[0] * 8, [ticks, 0, ticks // 2, ticks // 2, 0, 0, 0, 0]])
    seconds = iter([10.0, 11.0])
    monkeypatch.setattr(others, "_times", lambda: next(looks))
    monkeypatch.setattr(time, "process_time", lambda: next(seconds))
    assert Others().share() == pytest.approx(0.25)


@pytest.mark.parametrize("after", [None, [1, 0, 0, 1, 0, 0, 0, 0]], ids=["no such file", "too short"])
def test_unknown_is_none(monkeypatch: pytest.MonkeyPatch, after: list[int] | None) -> None:
    looks = iter([[0] * 8, after])
    monkeypatch.setattr(others, "_times", lambda: next(looks))
    assert Others().share() is None
