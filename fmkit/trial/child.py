"""The process that runs a trial: `python -m fmkit.trial.child REQUEST RESULT`.

Reads a TrialRequest from the file REQUEST and writes a ChildResult to RESULT, both JSON. Phases are announced on stderr, one
line each. When the parent goes away, so does this process.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from fmkit.subprocesses import die_with_parent
from fmkit.trial.failure import failure_of
from fmkit.trial.request import ChildResult, Phase, TrialOutcome, TrialRequest

PHASE_MARK = "fmkit-phase:"
"""Begins a line on stderr that announces a phase."""


def main(arguments: list[str]) -> int:
    """Run the request; the result file says how it went, also when it failed."""
    request_path, result_path = (Path(argument) for argument in arguments)
    die_with_parent()
    request = msgspec.json.decode(request_path.read_bytes(), type=TrialRequest)

    def keep(result: ChildResult) -> None:
        part = result_path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(result))
        part.replace(result_path)

    keep(run(request, lambda outcome: keep(ChildResult(outcome=outcome))))
    return 0


def run(request: TrialRequest, keep: Callable[[TrialOutcome], None] = lambda _: None) -> ChildResult:
    """The outcome of a request, or the failure; no exception leaves. `keep` gets what there is before each further workload."""
    phase: list[Phase] = ["start"]

    def enter(name: Phase) -> None:
        phase.append(name)
        print(f"{PHASE_MARK}{name}", file=sys.stderr, flush=True)  # noqa: T201  the protocol with the parent

    try:
        if request.ranks is not None:
            from fmkit.trial.ranks.run import run_rank  # noqa: PLC0415  seconds of imports, and they may fail

            return ChildResult(outcome=run_rank(request, enter))
        from fmkit.trial.stages import run_trial  # noqa: PLC0415  seconds of imports, and they may fail

        return ChildResult(outcome=run_trial(request, enter, keep))
    except Exception as error:  # noqa: BLE001  whatever happened, the parent has to hear of it
        if os.environ.get("FMKIT_DEBUG"):
            traceback.print_exc()
        return ChildResult(failure=failure_of(error, phase[-1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
