"""Predicted against measured on this machine's GPU: sweeps of `fmkit try --random-weights` over models of all kinds.

    python benchmarks/gpu_trials.py [--write FILE] [--only NAME]... [--seconds N]

One model is loaded at a time, and run at every context and number of sequences that fits. Prints the allocated peak, the peak of the
process on the device, and the speed beside their predictions. `--seconds` starts no further model after that time. Without a GPU
it says so and measures nothing. Downloads nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_sweep
from fmkit.errors import FmkitError
from fmkit.results.trial import TrialResult
from fmkit.units import format_bytes

CASE_TIMEOUT_S = 120.0
REPEATS = 2
PARTS = ("weights", "cache", "activations", "allocated_peak_bytes", "process_peak_bytes")


class Case(msgspec.Struct, frozen=True):
    """One model at one precision, and the workloads it is run at."""

    model: str
    precision: str = "fp16"
    contexts: tuple[int, ...] = (512, 4096, 16384)
    sequences: tuple[int, ...] = (1, 4)
    layers: int | None = None


SHORT = (128, 512)
CASES = (
    Case("qwen3-30b-a3b", contexts=(512, 4096)),
    Case("llama-3.1-8b", contexts=(512, 8192, 32768), sequences=(1, 4)),
    Case("gemma-3-4b-it", contexts=(512, 8192)),
    Case("mistral-7b-v0.1", contexts=(512, 8192)),
    Case("deepseek-v3", contexts=(512, 4096), layers=5),
    Case("whisper-large-v3", contexts=(128, 448)),
    Case("qwen2.5-32b", contexts=(512, 8192), sequences=(1, 2)),
    Case("flan-t5-large", contexts=SHORT),
    Case("llava-1.5-7b-hf", contexts=(1024, 4096)),
    Case("bert-base-uncased", contexts=SHORT, sequences=(1, 16)),
    Case("phi-3.5-mini-instruct", contexts=(512, 4096)),
    Case("falcon-7b", contexts=(512, 2048)),
    Case("gpt2", contexts=(128, 1024)),
    Case("qwen2.5-7b", "int4", contexts=(512, 4096)),
    Case("qwen2.5-0.5b", sequences=(1, 4, 16)),
    Case("clip-vit-base-patch32", contexts=(77,), sequences=(1, 16)),
    Case("qwen2.5-7b", contexts=(512, 32768)),
    Case("mamba-2.8b-hf", contexts=(512, 2048)),
    Case("qwen2.5-0.5b", "fp32", contexts=(512, 4096)),
    Case("llama-3.1-8b", "int4", contexts=(512, 4096)),
    Case("llama-3.1-8b", "int8", contexts=(512, 4096)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the rows as JSON, after every model")
    parser.add_argument("--only", action="append", metavar="NAME", help="only models whose id contains NAME")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further model after this time")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the program itself")
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    started = time.monotonic()
    print(header())
    for case in CASES:
        if chosen.only and not any(name in case.model for name in chosen.only):
            continue
        if time.monotonic() - started > chosen.seconds:
            left_out.append({"model": case.model, "precision": case.precision, "reason": "no time left"})
            continue
        try:
            found, missed = run(case, chosen.device)
        except FmkitError as error:
            if "no NVIDIA or AMD accelerator" in error.message:
                print(f"nothing measured: {error.message}")
                return 0
            found, missed = [], [{"model": case.model, "precision": case.precision, "reason": error.message}]
        rows += found
        left_out += missed
        for row in found:
            print(line(row), flush=True)
        for one in missed:
            print(f"{one['model']:24} {one['precision']:5} not measured: {one['reason']}", flush=True)
        if chosen.write:
            result = {
                "date": datetime.now(UTC).date().isoformat(),
                "errors": summary(rows),
                "left_out": left_out,
                "rows": rows,
            }
            chosen.write.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary(rows), indent=1))
    print(f"{len(rows)} workloads in {time.monotonic() - started:.0f} s")
    return 0


def run(case: Case, device: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The rows of one model, and what it could not do."""
    options = TrialOptions(
        device=device,
        random_weights=True,
        layers=case.layers,
        repeat=REPEATS,
        checks=["none"],
        keep=False,
        offline=True,
        timeout_s=CASE_TIMEOUT_S,
    )
    swept = try_sweep(
        case.model, precision=[case.precision], context=case.contexts, sequences=case.sequences, options=options
    )
    missed = [
        {
            "model": case.model,
            "precision": case.precision,
            "reason": f"{one.sequences} x {one.context_tokens}: {one.reason}",
        }
        for one in swept.failed
    ]
    return [figures(one) for one in swept.trials], missed


def figures(result: TrialResult) -> dict[str, Any]:
    """What is kept of a trial."""
    predicted, measured = result.predicted, result.measured
    above = [parts["allocated_peak_bytes"] - parts["weights"] for parts in (predicted, measured)]
    return {
        "model": result.model,
        "precision": result.precision,
        "workload": msgspec.to_builtins(result.workload),
        "predicted": predicted,
        "measured": measured,
        "error": {**result.error, "above_weights": above[0] / above[1] - 1 if above[1] else 0.0},
        "speed": msgspec.to_builtins(result.speed),
        "engine": msgspec.to_builtins(result.engine),
        "machine": msgspec.to_builtins(result.machine),
    }


def header() -> str:
    """The table's head."""
    names = ("allocated", "error", "above w.", "process", "error", "first token", "predicted", "tokens/s", "predicted")
    return f"{'model':24} {'':5} {'seqs':>4} {'tokens':>6} " + " ".join(f"{name:>12}" for name in names)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    measured, error, speed = row["measured"], row["error"], row["speed"]
    process = measured.get("process_peak_bytes")
    cells = [
        format_bytes(measured["allocated_peak_bytes"]),
        f"{error['allocated_peak_bytes']:+.2%}",
        f"{error['above_weights']:+.1%}",
        "unknown" if process is None else format_bytes(process),
        f"{error['process_peak_bytes']:+.1%}" if "process_peak_bytes" in error else "",
        *_speed(speed, "ttft_s"),
        *_speed(speed, "decode_tokens_per_s"),
    ]
    work = row["workload"]
    start = f"{row['model'][:24]:24} {row['precision']:5} {work['sequences']:>4} {work['context_tokens']:>6} "
    return start + " ".join(f"{cell:>12}" for cell in cells)


def _speed(speed: dict[str, Any], name: str) -> tuple[str, str]:
    measured, predicted = speed.get(name), speed["predicted"].get(name)
    return (
        "" if measured is None else f"{measured['mean']:.4g}",
        "" if not predicted else f"{predicted['low']:.3g}..{predicted['high']:.3g}",
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and 90th percentile of the absolute errors by part."""
    found: dict[str, Any] = {}
    for part in (*PARTS, "above_weights"):
        errors = sorted(abs(row["error"][part]) for row in rows if part in row["error"])
        if errors:
            last = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
            found[part] = {"median": round(statistics.median(errors), 5), "p90": round(last, 5), "rows": len(errors)}
    return found


if __name__ == "__main__":
    sys.exit(main())
