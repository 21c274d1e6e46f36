"""The process that traces: `python -m fmkit.trial.trace.child REQUEST RESULT`, a TraceRequest in, a TraceResult out."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from fmkit.trial.failure import failure_of
from fmkit.trial.trace.request import TraceRequest, TraceResult


def main(arguments: list[str]) -> int:
    """Trace every workload of the request; the result says how it went, also when it failed."""
    request_path, result_path = (Path(argument) for argument in arguments)
    request = msgspec.json.decode(request_path.read_bytes(), type=TraceRequest)
    result_path.write_bytes(msgspec.json.encode(run(request)))
    return 0


def run(request: TraceRequest) -> TraceResult:
    """The peaks, or the failure; no exception leaves."""
    try:
        from fmkit.trial.trace.run import trace  # noqa: PLC0415  seconds of imports, and they may fail

        traced = tuple(trace(request, cell) for cell in request.cells)
        return TraceResult(traced=traced, libraries={name: version(name) for name in ("torch", "transformers")})
    except Exception as error:  # noqa: BLE001  whatever happened, the parent has to hear of it
        return TraceResult(failure=failure_of(error, "prefill"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
