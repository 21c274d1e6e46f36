"""The parent's side of a trial: start the child, pass on its progress, end it cleanly, turn its fate into an answer or an error.

A model that runs out of memory takes its process with it; that process is not this one. No torch here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, cast

import msgspec

from fmkit.errors import FmkitError, MissingExtraError, TrialFailedError, UnsafeInputError, UsageError
from fmkit.trial.child import PHASE_MARK
from fmkit.trial.interruption import interruptible
from fmkit.trial.memory_limit import command_prefix
from fmkit.trial.notes import NOTE_MARK
from fmkit.trial.out_of_memory import OutOfMemoryError, is_out_of_memory, kernel_kills, wanted_bytes
from fmkit.trial.request import CellOutcome, ChildResult, Phase, TrialFailure, TrialOutcome, TrialRequest
from fmkit.trial.supervision import limit_on_process, supervise
from fmkit.trial.workplace import Workplace, workplace

PHASES = {
    "start": "importing the engine's libraries",
    "join": "meeting the other ranks",
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
    request: TrialRequest,
    *,
    progress: Progress | None = None,
    timeout_s: float | None = None,
    place: Workplace | None = None,
) -> TrialOutcome:
    """Run the request in a process of its own, whose files lie in `place` (by default in a folder that goes with this call).

    Raises OutOfMemoryError where memory ran out or went above the request's limit, TrialFailedError where it fails, dies, hangs or takes
    longer than `timeout_s` seconds in one phase, and the child's own kind of error for bad input or a missing library. The child
    never outlives this call: a signal to end, or the end of this process, ends it too.
    """
    with ExitStack() as stack:
        if place is None:
            place = stack.enter_context(workplace(request.model))
        folder = place.path
        (folder / "request.json").write_bytes(msgspec.json.encode(request))
        stack.enter_context(interruptible())
        child = Child(folder, noted(place, progress), limit_bytes=limit_on_process(request))
        try:
            supervise((child,), request, timeout_s)
            return outcome_of(folder / "result.json", child.wait(None), child, request)
        except TrialFailedError as error:
            return _measured_before(folder / "result.json", error, child, request)
        finally:
            child.end()


def noted(place: Workplace, progress: Progress | None) -> Progress:
    """`progress`, and what is being done noted in the folder for whoever finds it."""

    def say(doing: str) -> None:
        place.enter(doing.removesuffix(" ..."))
        if progress is not None:
            progress(doing)

    return say


class Child:
    """A running trial; `phase` is what it announced last, `tail` the last lines it wrote beside that."""

    def __init__(
        self,
        folder: Path,
        progress: Progress | None,
        environment: Mapping[str, str] | None = None,
        *,
        limit_bytes: int | None = None,
    ) -> None:
        self.phase: Phase = "start"
        self.phase_since_s = time.monotonic()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._progress = progress
        self.kernel_kills_before = kernel_kills()
        prefix = [] if limit_bytes is None else command_prefix(limit_bytes)
        command = [sys.executable, "-m", "fmkit.trial.child", str(folder / "request.json"), str(folder / "result.json")]
        self._ended = threading.Event()
        self._process = subprocess.Popen(  # noqa: S603  our own module, and no shell
            [*prefix, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**child_environment(folder), **(environment or {})},
            start_new_session=True,  # an interrupt at the terminal reaches us, and we end the child
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        try:
            self._reader.start()
            self._say("start")
        except BaseException:  # an interrupt, which whoever asked for the child can't answer yet
            self.end()
            raise

    @property
    def doing(self) -> str:
        """The phase in words."""
        return PHASES.get(self.phase, self.phase)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def ended_within(self, seconds: float) -> bool:
        """Whether the process has ended; waits so long for that."""
        if self._ended.wait(seconds) and self._process.poll() is None:  # its output ended, and it will soon
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None) -> int:
        """The exit status of the process; negative for a signal."""
        status = self._process.wait(timeout_s)
        self._reader.join(TERMINATE_WAIT_S)
        return status

    def end(self) -> None:
        """Kill the process if it still runs, which has nothing to put in order, and close what belongs to it."""
        if self._process.poll() is None:
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
                    self.phase = cast("Phase", line.removeprefix(PHASE_MARK))
                    self.phase_since_s = time.monotonic()
                    self._say(self.phase)
                elif line.startswith(NOTE_MARK):
                    self.phase_since_s = time.monotonic()  # it goes on
                    if self._progress is not None:
                        self._progress(f"{line.removeprefix(NOTE_MARK)} ...")
                elif line:
                    self.tail.append(line)
        self._ended.set()

    def _say(self, phase: str) -> None:
        if self._progress is not None:
            self._progress(f"{PHASES.get(phase, phase)} ...")


def child_environment(folder: Path | None = None) -> dict[str, str]:
    """The child's environment: this one, without network, telemetry and conversion of pickled weights.

    What it writes for a while it writes into `folder`.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        **({} if folder is None else dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))),
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


def outcome_of(path: Path, status: int, child: Child, request: TrialRequest) -> TrialOutcome:
    """The result the child wrote; where it wrote none, what its exit status says about its death."""
    if not path.exists():
        raise _death(status, child, request)
    result = msgspec.json.decode(path.read_bytes(), type=ChildResult)
    if result.outcome is not None and len(result.outcome.further) == len(request.further):
        return result.outcome
    if result.outcome is not None:
        raise _death(status, child, request)
    if result.failure is None:
        raise TrialFailedError("the trial ended without a result", where=request.model)
    raise error_of(result.failure, request)


def _measured_before(path: Path, error: TrialFailedError, child: Child, request: TrialRequest) -> TrialOutcome:
    """What a sweep had measured before one of its workloads ended the process; without any, `error` is raised."""
    result = msgspec.json.decode(path.read_bytes(), type=ChildResult) if path.exists() else ChildResult()
    if result.outcome is None:
        raise error
    failure = TrialFailure(kind="failed", phase=child.phase, message=error.message)
    if isinstance(error, OutOfMemoryError):
        failure = error.failure
    not_run = TrialFailure(kind="failed", phase="start", message="not run: the workload before it ended the process")
    done = result.outcome.further
    rest = [CellOutcome(failure=not_run) for _ in request.further[len(done) + 1 :]]
    return msgspec.structs.replace(result.outcome, further=(*done, CellOutcome(failure=failure), *rest))


def _death(status: int, child: Child, request: TrialRequest) -> FmkitError:
    """What ended a child that wrote no result."""
    last = f"; last words: {child.tail[-1]}" if child.tail else ""
    said = next((line for line in child.tail if is_out_of_memory(line)), None)
    kills = kernel_kills()
    if status == -signal.SIGKILL and kills is not None and kills != child.kernel_kills_before:
        said = "the kernel killed the process (signal 9), for the system or its container had no memory left"
    if said is not None:
        failure = TrialFailure(
            kind="out-of-memory", phase=child.phase, message=said[:400], wanted_bytes=wanted_bytes(said)
        )
        return OutOfMemoryError(failure, child.doing, where=request.model)
    if status == -signal.SIGKILL:
        why = (
            "most likely the system ran out of memory"
            if kills is None
            else "not by the kernel for want of memory: by a person, a job scheduler or a guard such as systemd-oomd"
        )
        how = f"the process was killed (signal 9), {why},"
    elif status < 0:
        how = f"the process died of signal {-status} ({signal.Signals(-status).name})"
    else:
        how = f"the process ended with status {status}"
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
        return OutOfMemoryError(failure, doing, where=request.model)
    return TrialFailedError(
        f"failed while {doing}: {failure.message}", where=request.model, next_command=failure.next_command
    )
