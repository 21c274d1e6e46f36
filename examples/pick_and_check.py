"""Pick a model for a task and card, and say why: the recommendation and its numbers from Python.

Usage: python examples/pick_and_check.py [TASK] [DEVICE]
"""

from __future__ import annotations

import sys

import fmkit
from fmkit.units import format_bytes


def main(task: str, device: str) -> None:
    answer = fmkit.recommend(task, gpu=device, licence=["permissive"], top=3)
    print(answer.verdict)
    for pick in answer.picks:
        if pick.memory is not None:
            print(
                f"  {pick.model} at {pick.precision}: {format_bytes(pick.memory.peak_bytes)}, licence {pick.licence.id}"
            )
    reasons = {excluded.constraint for excluded in answer.excluded}
    print(f"{len(answer.excluded)} models are out, for: {', '.join(sorted(reasons))}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(arguments[0] if arguments else "code", arguments[1] if len(arguments) > 1 else "rtx-4090")
