"""The process that runs a trial: `python -m fmkit.trial.child REQUEST RESULT`.

Reads a TrialRequest from the file REQUEST and writes a ChildResult to RESULT, both JSON. Phases are announced on stderr, one
line each. The parent holds stdin open: when it goes away, so does this process.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Literal

import msgspec

from fmkit.errors import FmkitError, MissingExtraError, UnsafeInputError, UsageError
from fmkit.trial.request import ChildResult, Phase, TrialFailure, TrialRequest

PHASE_MARK = "fmkit-phase:"
"""Begins a line on stderr that announces a phase."""

LIBRARIES = {"torch", "transformers", "accelerate", "safetensors", "numpy"}
"""What the extra `try` installs: one of these missing is no bug."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")

OTHER_SHAPES = ("ignore_mismatched_sizes", "size mismatch")
"""In the message of a load whose tensors don't have the shapes that config.json gives."""


def main(arguments: list[str]) -> int:
    """Run the request; the result file says how it went, also when it failed."""
    request_path, result_path = (Path(argument) for argument in arguments)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    request = msgspec.json.decode(request_path.read_bytes(), type=TrialRequest)
    result = run(request)
    part = result_path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(result))
    part.replace(result_path)
    return 0


def run(request: TrialRequest) -> ChildResult:
    """The outcome of a request, or the failure; no exception leaves."""
    phase: list[Phase] = ["start"]

    def enter(name: Phase) -> None:
        phase.append(name)
        print(f"{PHASE_MARK}{name}", file=sys.stderr, flush=True)  # noqa: T201  the protocol with the parent

    try:
        from fmkit.trial.stages import run_trial  # noqa: PLC0415  seconds of imports, and they may fail

        return ChildResult(outcome=run_trial(request, enter))
    except Exception as error:  # noqa: BLE001  whatever happened, the parent has to hear of it
        if os.environ.get("FMKIT_DEBUG"):
            traceback.print_exc()
        return ChildResult(failure=failure_of(error, phase[-1]))


def failure_of(error: Exception, phase: Phase) -> TrialFailure:
    """What an exception means for the user."""
    if isinstance(error, FmkitError):
        return TrialFailure(kind=_kind(error), phase=phase, message=error.message, next_command=error.next_command)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in LIBRARIES:
        missing = MissingExtraError.for_extra("try", "fmkit try", str(error.name))
        return TrialFailure(
            kind="missing-extra", phase=phase, message=missing.message, next_command=missing.next_command
        )
    name = type(error).__name__
    text = " ".join(str(error).split())[:400] or name
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or any(words in text for words in OUT_OF_MEMORY):
        return TrialFailure(kind="out-of-memory", phase=phase, message=text)
    if name == "SafetensorError":
        return TrialFailure(kind="unsafe-input", phase=phase, message=f"the weights can't be read: {text}")
    if phase == "load" and any(words in text for words in OTHER_SHAPES):
        message = "the weights have other shapes than config.json says"
        return TrialFailure(kind="unsafe-input", phase=phase, message=message)
    return TrialFailure(kind="failed", phase=phase, message=f"{name}: {text}")


def _kind(error: FmkitError) -> Literal["failed", "unsafe-input", "usage", "missing-extra"]:
    if isinstance(error, UnsafeInputError):
        return "unsafe-input"
    if isinstance(error, MissingExtraError):
        return "missing-extra"
    return "usage" if isinstance(error, UsageError) else "failed"


def _die_with_parent() -> None:
    """Wait until the parent's end of stdin closes, then leave without ceremony."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
