"""Real processes under watch: one that takes too much memory, one that does nothing, one that never ends, and one that behaves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmkit.errors import TrialFailedError
from fmkit.trial import supervision
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.trial.processes import ProcessFamily
from fmkit.trial.request import Phase
from fmkit.trial.supervision import supervise
from fmkit.units import MIB
from tests.trial.tiny import request

LIMIT_BYTES = 150 * MIB
MUCH_BYTES = 400 * MIB  # what it may take on a busy machine, between two looks
GROW = "held = []\nwhile True: held.append(bytearray(1 << 20)); import time; time.sleep(0.001)"
"""Takes a mebibyte every millisecond."""

GROW_IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GROW!r}])"
STAY_UNDER = "held = bytearray(60 << 20); import time; time.sleep(0.5)"


class Program:
    """A process that is in the phase `load`."""

    phase: Phase = "load"
    doing = "loading the model"

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", code])
        self.phase_since_s = time.monotonic()
        self.pid = self.process.pid

    def ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    running: list[Program] = []

    def start(code: str) -> Program:
        running.append(Program(code))
        return running[-1]

    yield start
    for one in running:
        subprocess.run(["pkill", "-9", "-P", str(one.pid)], check=False)
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("code", [GROW, GROW_IN_A_CHILD])
def test_a_process_over_its_limit_is_noticed_at_once(code: str, program: Callable[[str], Program]) -> None:
    one = program(code)
    with pytest.raises(OutOfMemoryError, match="out of memory while loading the model") as caught:
        supervise((one,), request("llama", limit_bytes=LIMIT_BYTES))
    held = caught.value.failure.held_bytes
    assert held is not None
    assert LIMIT_BYTES < held < LIMIT_BYTES + MUCH_BYTES


def test_a_process_under_its_limit_is_left_alone(program: Callable[[str], Program]) -> None:
    one = program(STAY_UNDER)
    supervise((one,), request("llama", limit_bytes=LIMIT_BYTES))
    assert one.process.returncode == 0


def test_two_processes_share_a_limit(program: Callable[[str], Program]) -> None:
    both = (program(STAY_UNDER.replace("0.5", "5")), program(STAY_UNDER.replace("0.5", "5")))
    with pytest.raises(OutOfMemoryError):
        supervise(both, request("llama", limit_bytes=110 * MIB))


def test_a_process_that_does_nothing_hangs(program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "IDLE_S", 0.5)
    monkeypatch.setattr(supervision, "WORK_EVERY_S", 0.1)
    with pytest.raises(TrialFailedError, match="loading the model hung: nothing was computed"):
        supervise((program("import time; time.sleep(60)"),), request("llama"))


def test_a_process_that_works_does_not_hang_but_has_a_deadline(
    program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "IDLE_S", 0.5)
    monkeypatch.setattr(supervision, "WORK_EVERY_S", 0.25)
    with pytest.raises(
        TrialFailedError, match=r"loading the model took longer than 1\.2\d? s, and was stopped"
    ) as caught:
        supervise((program("while True: pass"),), request("llama"), 1.25)
    assert "--timeout" in str(caught.value.next_command)


def test_what_the_kernel_does_not_say(tmp_path: Path) -> None:
    family = ProcessFamily([1], proc=tmp_path)
    assert family.resident_bytes() == 0  # it has ended
    assert family.work() == (0, 0, 0)
