"""The child process: what becomes of it, and of us, when it fails, dies, hangs or is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from fmkit.errors import ExitCode, FmkitError, MissingExtraError, TrialFailedError
from fmkit.trial import runner
from fmkit.trial.failure import failure_of
from fmkit.trial.request import TrialFailure
from fmkit.trial.runner import child_environment, error_of, run_in_child
from fmkit.units import GIB
from tests.trial.tiny import request


class Watched:
    """Keeps the child that a test starts, so that the test can look at it afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        original = subprocess.Popen

        def popen(*arguments: Any, **options: Any) -> Any:
            self.process = original(*arguments, **options)
            return self.process

        monkeypatch.setattr(subprocess, "Popen", popen)

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_a_run_says_its_phases_and_a_failure_names_its_phase() -> None:
    said: list[str] = []
    outcome = run_in_child(request("llama", limit_bytes=GIB), progress=said.append)  # which it stays under
    assert outcome.limit_means == (("rlimit-data",) if sys.platform == "linux" else ())
    assert outcome.measured["process_peak_bytes"] > outcome.measured["process_baseline_bytes"] > 50_000_000
    assert [line.split()[0] for line in said] == [
        "importing", "warming", "loading", "processing", "decoding", "taking", "asking", "checking",
    ]  # fmt: skip


def test_a_killed_child_is_recognised(watched: Watched) -> None:
    def kill() -> None:
        while watched.process is None:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(watched.process.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(TrialFailedError, match=r"signal 9\), .* while importing") as caught:
        run_in_child(request("llama"))
    assert caught.value.exit_code == ExitCode.TRIAL_FAILED
    assert watched.ended


def test_a_crash_is_recognised(watched: Watched) -> None:
    def crash() -> None:
        while watched.process is None:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(watched.process.pid, signal.SIGSEGV)

    threading.Thread(target=crash).start()
    with pytest.raises(TrialFailedError, match="SIGSEGV"):
        run_in_child(request("llama"))


def test_a_timeout_ends_the_child(watched: Watched) -> None:
    with pytest.raises(TrialFailedError, match=r"took longer than 200 ms"):
        run_in_child(request("llama"), timeout_s=0.2)
    assert watched.ended


def test_an_interrupt_ends_the_child(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "supervise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_in_child(request("llama"))
    assert watched.ended


def test_the_child_dies_with_its_parent() -> None:
    code = "from fmkit.subprocesses import _watch_stdin; _watch_stdin()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert child.stdin is not None
    time.sleep(0.1)
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(10) == 1


def test_the_child_has_no_network_and_converts_no_pickles() -> None:
    environment = child_environment()
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["DISABLE_SAFETENSORS_CONVERSION"] == environment["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_the_parent_imports_no_torch() -> None:
    code = "import sys, fmkit.api.try_model; assert not {'torch', 'transformers', 'numpy', 'huggingface_hub'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out-of-memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out-of-memory"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "missing-extra"),
        (ModuleNotFoundError("No module named 'fmkit.nothing'", name="fmkit.nothing"), "failed"),
        (MissingExtraError("needs x"), "missing-extra"),
        (ValueError("size mismatch"), "unsafe-input"),
        (ValueError("anything"), "failed"),
    ],
)
def test_what_an_exception_means(error: Exception, kind: str) -> None:
    assert failure_of(error, "load").kind == kind


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("failed", ExitCode.TRIAL_FAILED),
        ("out-of-memory", ExitCode.TRIAL_FAILED),
        ("unsafe-input", ExitCode.UNSAFE_INPUT),
        ("usage", ExitCode.USAGE),
        ("missing-extra", ExitCode.MISSING_EXTRA),
    ],
)
def test_exit_codes(kind: Any, code: ExitCode) -> None:
    error = error_of(TrialFailure(kind=kind, phase="load", message="why"), request("llama"))
    assert isinstance(error, FmkitError)
    assert error.exit_code == code
    assert "why" in error.message
