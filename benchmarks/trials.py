"""Predicted against measured memory of real sizes: `fmkit try --random-weights` on at least one model of each kind.

    python benchmarks/trials.py [--write] [--only NAME]...

Prints allocated and process peak, predicted and measured, with the error of the whole and of the part above the weights.
`--write` keeps the result in benchmarks/results/trials.json. A case that fails is listed and does not stop the rest. Needs about
13 GiB of free memory and 15 minutes on 2 cores, and downloads nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fmkit.api.try_model import try_model
from fmkit.errors import FmkitError
from fmkit.results.trial import TrialResult
from fmkit.units import format_bytes

RESULTS = Path(__file__).parent / "results" / "trials.json"
CASE_TIMEOUT_S = 400.0


class Case(msgspec.Struct, frozen=True):
    """One trial: what it stands for, and its options."""

    model: str
    stands_for: str
    layers: int | None = None
    context: int | None = None
    sequences: int = 1
    precision: str = "fp16"


CASES = (
    Case("qwen2.5-0.5b", "decoder"),
    Case("qwen2.5-0.5b", "decoder, 4 sequences of 1k", context=1024, sequences=4),
    Case("qwen2.5-0.5b", "decoder in float32", precision="fp32"),
    Case("gpt2", "decoder with learned positions", precision="fp32"),
    Case("gemma-3-1b-it", "sliding window", context=1024),
    Case("mistral-7b-v0.1", "sliding window of every layer, 4 layers", layers=4, context=1024),
    Case("llama-3.1-8b", "decoder, 4 layers", layers=4, context=1024),
    Case("bert-base-uncased", "encoder", precision="fp32"),
    Case("all-minilm-l6-v2", "embedding", precision="fp32"),
    Case("t5-base", "encoder-decoder", precision="fp32"),
    Case("bart-base", "encoder-decoder", precision="fp32"),
    Case("clip-vit-base-patch32", "CLIP", precision="fp32"),
    Case("llava-1.5-7b-hf", "vision-language, 2 layers of text", layers=2, precision="fp32"),
    Case("whisper-base", "speech", precision="fp32"),
    Case("mamba-130m-hf", "state-space", precision="fp32", context=256),
    Case("mixtral-8x7b-v0.1", "mixture of experts, 2 layers", layers=2),
    Case("deepseek-v3", "latent attention, 2 dense layers", layers=2),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    parser.add_argument("--only", action="append", metavar="NAME", help="only models whose id contains NAME")
    chosen = parser.parse_args()
    cases = [case for case in CASES if not chosen.only or any(name in case.model for name in chosen.only)]
    print(header())
    rows = []
    for case in cases:
        rows.append(run(case))
        print(line(rows[-1]), flush=True)
    summary = summarise(rows)
    print(json.dumps(summary, indent=1))
    if chosen.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**summary, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if any("measured" in row for row in rows) else 1


def run(case: Case) -> dict[str, Any]:
    """One row: the figures of a trial, or why there are none."""
    about: dict[str, Any] = {"model": case.model, "stands_for": case.stands_for, "precision": case.precision}
    started = time.monotonic()
    try:
        result = try_model(
            case.model,
            precision=case.precision,
            device="cpu",
            context=case.context,
            sequences=case.sequences,
            random_weights=True,
            layers=case.layers,
            repeat=1,
            keep=False,
            offline=True,
            timeout_s=CASE_TIMEOUT_S,
        )
    except FmkitError as error:
        return {**about, "failed": error.message, "took_s": round(time.monotonic() - started, 1)}
    return {**about, **figures(result), "took_s": round(time.monotonic() - started, 1)}


def figures(result: TrialResult) -> dict[str, Any]:
    """What is kept of a trial. Above the weights: allocated peak less weights, of the prediction and of the measurement."""
    predicted, measured = result.predicted, result.measured
    above = {name: parts["allocated_peak_bytes"] - parts["weights"] for name, parts in
             (("predicted", predicted), ("measured", measured))}  # fmt: skip
    return {
        "workload": result.workload,
        "predicted": predicted,
        "measured": measured,
        "error": {**result.error, "above_weights": above["predicted"] / above["measured"] - 1},
        "above_weights": above,
        "unaccounted_bytes": result.unaccounted_bytes,
        "checks_failed": [check.name for check in result.checks if check.passed is False],
        "load_s": round(result.speed.load_s or 0.0, 2),
        "ttft_s": None if result.speed.ttft_s is None else round(result.speed.ttft_s.mean, 3),
        "versions": result.engine.libraries,
        "machine": result.machine,
    }


def header() -> str:
    """The table's head."""
    return (
        f"{'model':24} {'precision':9} {'allocated peak':>27} {'error':>7} {'above the weights':>27} {'error':>7} "
        f"{'process peak':>27} {'error':>7}  s\n{'':35}" + f"{'predicted':>13} {'measured':>13} {'':>7} " * 3
    )


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    start = f"{row['model'][:24]:24} {row['precision']:9} "
    if "failed" in row:
        return f"{start}failed: {row['failed']}"
    cells = []
    for part in ("allocated_peak_bytes", "above_weights", "process_peak_bytes"):
        pair = [row["above_weights"] if part == "above_weights" else None, row["predicted"], row["measured"]]
        predicted, measured = (
            (pair[0]["predicted"], pair[0]["measured"]) if pair[0] else (pair[1].get(part), pair[2].get(part))
        )
        error = row["error"].get(part)
        shown = ["unknown" if size is None else format_bytes(size) for size in (predicted, measured)]
        cells.append(f"{shown[0]:>13} {shown[1]:>13} {'' if error is None else f'{error:+.1%}':>7}")
    return f"{start}{' '.join(cells)}  {row['took_s']:.0f}"


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Date, machine, and the largest and median absolute errors."""
    done = [row for row in rows if "failed" not in row]
    errors = {}
    for part in ("weights", "cache", "allocated_peak_bytes", "above_weights", "process_peak_bytes"):
        found = sorted(abs(row["error"][part]) for row in done if part in row["error"])
        if found:
            errors[part] = {
                "median": round(found[len(found) // 2], 5),
                "largest": round(found[-1], 5),
                "rows": len(found),
            }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": done[0]["machine"] if done else None,
        "versions": done[0]["versions"] if done else None,
        "absolute_error": errors,
        "failed": [row["model"] for row in rows if "failed" in row],
    }


if __name__ == "__main__":
    sys.exit(main())
