"""The parent's side of a trace: a process of its own, for PyTorch is imported nowhere else. No torch here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError, MissingExtraError, TrialFailedError, UsageError
from fmkit.trial.request import TrialFailure
from fmkit.trial.runner import child_environment
from fmkit.trial.trace.request import TraceRequest, TraceResult

TIMEOUT_S = 600.0
"""After this a trace is given up: a recurrent layer without a fused kernel is a loop over tokens."""


def run_trace(request: TraceRequest, *, progress: Callable[[str], None] | None = None) -> TraceResult:
    """The peaks of the request's workloads.

    Raises MissingExtraError without PyTorch or transformers, and TrialFailedError for a model that transformers can't build or that
    takes longer than ten minutes.
    """
    if progress is not None:
        plural = "s" if len(request.cells) > 1 else ""
        progress(f"tracing {request.model} without weights: {len(request.cells)} workload{plural} ...")
    with tempfile.TemporaryDirectory(prefix="fmkit-trace-") as name:
        asked, answered = Path(name) / "request.json", Path(name) / "result.json"
        asked.write_bytes(msgspec.json.encode(request))
        command = [sys.executable, "-m", "fmkit.trial.trace.child", str(asked), str(answered)]
        try:
            done = subprocess.run(  # noqa: S603  our own module, and no shell
                command,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TrialFailedError(
                f"the trace took longer than {TIMEOUT_S:g} s, and was stopped: ask for a shorter --context",
                where="--trace",
            ) from None
        if not answered.exists():
            raise TrialFailedError(f"the trace ended with status {done.returncode}", where="--trace")
        result = msgspec.json.decode(answered.read_bytes(), type=TraceResult)
    if result.failure is not None:
        raise _error_of(result.failure, request)
    if progress is not None:
        progress(f"traced in {sum(traced.took_s for traced in result.traced):.1f} s, without imports")
    return result


def _error_of(failure: TrialFailure, request: TraceRequest) -> FmkitError:
    plain = f"fmkit vram {request.model}"
    if failure.kind == "missing-extra":
        return MissingExtraError(failure.message, next_command=failure.next_command)
    if failure.kind == "usage":
        return UsageError(failure.message, where="--trace", next_command=failure.next_command or plain)
    return TrialFailedError(f"the model can't be traced: {failure.message}", where="--trace", next_command=plain)
