"""The parent's side of a trial: start the child, pass on its progress, end it cleanly, turn its fate into an answer or an error.

A model that runs out of memory takes its process with it; that process is not this one. No torch here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from fmkit.errors import FmkitError, MissingExtraError, TrialFailedError, UnsafeInputError, UsageError
from fmkit.trial.child import PHASE_MARK
from fmkit.trial.request import ChildResult, TrialFailure, TrialOutcome, TrialRequest

PHASES = {
    "start": "importing the engine's libraries",
    "warm-up": "warming up",
    "load": "loading the model",
    "prefill": "processing the input, counting memory",
    "decode": "decoding one token, counting memory",
    "timing": "taking times",
    "output": "asking for the output",
    "checks": "checking the output",
}
"""What each phase is called in progress lines and errors."""

TERMINATE_WAIT_S = 5.0
TAIL_LINES = 12

Progress = Callable[[str], None]


def run_in_child(
    request: TrialRequest, *, progress: Progress | None = None, timeout_s: float | None = None
) -> TrialOutcome:
    """Run the request in a process of its own.

    Raises TrialFailedError where it fails, dies or takes longer than `timeout_s` seconds, and the child's own kind of error
    for bad input or a missing library. The child never outlives this call.
    """
    with tempfile.TemporaryDirectory(prefix="fmkit-trial-") as name:
        folder = Path(name)
        (folder / "request.json").write_bytes(msgspec.json.encode(request))
        child = _Child(folder, progress)
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TrialFailedError(
                f"{child.doing} took longer than {timeout_s:g} s, and was stopped", where=request.model
            ) from None
        finally:
            child.end()
        return _outcome(folder / "result.json", status, child, request)


class _Child:
    """A running trial; `phase` is what it announced last, `tail` the last lines it wrote beside that."""

    def __init__(self, folder: Path, progress: Progress | None) -> None:
        self.phase = "start"
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._progress = progress
        self._process = subprocess.Popen(  # noqa: S603  our own module, and no shell
            [sys.executable, "-m", "fmkit.trial.child", str(folder / "request.json"), str(folder / "result.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            start_new_session=True,  # an interrupt at the terminal reaches us, and we end the child
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self._say("start")

    @property
    def doing(self) -> str:
        """The phase in words."""
        return PHASES.get(self.phase, self.phase)

    def wait(self, timeout_s: float | None) -> int:
        """The exit status of the process; negative for a signal."""
        status = self._process.wait(timeout_s)
        self._reader.join(TERMINATE_WAIT_S)
        return status

    def end(self) -> None:
        """End the process if it still runs, politely first, and close what belongs to it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(TERMINATE_WAIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(TERMINATE_WAIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _read(self, stream: IO[bytes]) -> None:
        with suppress(ValueError, OSError):  # closed while we read: the child is being ended
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                if line.startswith(PHASE_MARK):
                    self.phase = line.removeprefix(PHASE_MARK)
                    self._say(self.phase)
                elif line:
                    self.tail.append(line)

    def _say(self, phase: str) -> None:
        if self._progress is not None:
            self._progress(f"{PHASES.get(phase, phase)} ...")


def child_environment() -> dict[str, str]:
    """The child's environment: this one, without network, telemetry and conversion of pickled weights."""
    package_parent = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package_parent, known]) if known else package_parent,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "GGML_NO_BACKTRACE": "1",  # where llama.cpp aborts it would start a debugger
    }


def _outcome(path: Path, status: int, child: _Child, request: TrialRequest) -> TrialOutcome:
    """The result the child wrote; where it wrote none, what its exit status says about its death."""
    if not path.exists():
        raise _death(status, child, request)
    result = msgspec.json.decode(path.read_bytes(), type=ChildResult)
    if result.outcome is not None:
        return result.outcome
    if result.failure is None:
        raise TrialFailedError("the trial ended without a result", where=request.model)
    raise error_of(result.failure, request)


def _death(status: int, child: _Child, request: TrialRequest) -> FmkitError:
    if status == -signal.SIGKILL:
        how = "the process was killed (signal 9): most likely the system ran out of memory"
        return TrialFailedError(
            f"{how}, while {child.doing}", where=request.model, next_command=f"fmkit vram {request.model} --fit"
        )
    if status < 0:
        how = f"the process died of signal {-status} ({signal.Signals(-status).name})"
    else:
        how = f"the process ended with status {status}"
    last = f"; last words: {child.tail[-1]}" if child.tail else ""
    return TrialFailedError(f"{how} while {child.doing}{last}", where=request.model)


def error_of(failure: TrialFailure, request: TrialRequest) -> FmkitError:
    """The failure as the error the command line knows."""
    doing = PHASES[failure.phase]
    if failure.kind == "missing-extra":
        return MissingExtraError(failure.message, next_command=failure.next_command)
    if failure.kind == "usage":
        return UsageError(failure.message, where=request.model, next_command=failure.next_command)
    if failure.kind == "unsafe-input":
        return UnsafeInputError(failure.message, where=request.folder, next_command=failure.next_command)
    if failure.kind == "out-of-memory":
        return TrialFailedError(
            f"out of memory while {doing}: {failure.message}",
            where=request.model,
            next_command=f"fmkit vram {request.model} --fit",
        )
    return TrialFailedError(
        f"failed while {doing}: {failure.message}", where=request.model, next_command=failure.next_command
    )
