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

import msgspec

from fmkit.trial.failure import failure_of
from fmkit.trial.request import ChildResult, Phase, TrialRequest

PHASE_MARK = "fmkit-phase:"
"""Begins a line on stderr that announces a phase."""


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


def _die_with_parent() -> None:
    """Wait until the parent's end of stdin closes, then leave without ceremony."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
