"""accelerate's `estimate-memory`, its function run on each model; reads JSON from stdin, writes JSON to stdout.

The address space is limited, because building some models asks for tens of GiB of real memory.
"""

import argparse
import contextlib
import json
import resource
import sys
from typing import Any

from accelerate.commands.estimate import gather_data

DTYPES = ["float16", "int8", "int4"]


def main() -> None:
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (asked["limit_bytes"], asked["limit_bytes"]))
    answers = []
    for question in asked["questions"]:
        with contextlib.redirect_stdout(sys.stderr):
            answers.append(answer(question["hub_id"]))
    json.dump(answers, sys.stdout)


def answer(hub_id: str) -> dict[str, Any]:
    """Bytes of the weights in each type, or what it failed with."""
    options = argparse.Namespace(model_name=hub_id, library_name="transformers", trust_remote_code=False, dtypes=DTYPES)
    try:
        rows = gather_data(options)
    except Exception as error:  # noqa: BLE001  how a tool fails is its answer
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    return {row[0]: int(row[2]) for row in rows}


if __name__ == "__main__":
    main()
