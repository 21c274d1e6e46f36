"""Predicted against measured memory of real sizes: `fmkit try --random-weights` on at least one model of each kind, at the precisions that run.

    python benchmarks/trials.py [--write] [--only NAME]... [--seconds N]

Prints for each part the error of the prediction, what it leaves unexplained of the allocated peak, the times of load, prefill and
decode, and which error is beyond what is aimed at. `--write` keeps the result in benchmarks/results/trials.json. A case that fails is listed and does not stop the rest; after
`--seconds` no other is begun. Needs about 13 GiB of free memory and 12 minutes on 2 cores that do nothing else, and downloads nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
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
    """One architecture: what it stands for, its options, and the precisions to run it at, the main one first."""

    model: str
    stands_for: str
    precisions: tuple[str, ...] = ("fp16",)
    layers: int | None = None
    context: int | None = None
    sequences: int = 1


CASES = (
    Case(
        "qwen2.5-0.5b",
        "decoder, 6 layers",
        ("fp16", "int8", "nf4", "int8-torchao", "int8-quanto", "fp32", "fp4"),
        layers=6,
        context=256,
    ),
    Case("gpt2", "decoder with learned positions", ("fp32", "int8", "nf4"), context=128),
    Case("gemma-3-1b-it", "sliding window, 6 layers", ("fp16", "nf4"), layers=6, context=640),
    Case("mistral-7b-v0.1", "sliding window of every layer, 1 layer", ("fp16", "int8"), layers=1, context=256),
    Case(
        "llama-3.1-8b",
        "decoder, 1 layer, 4 sequences",
        ("fp16", "nf4", "int8-torchao"),
        layers=1,
        context=128,
        sequences=4,
    ),
    Case("bert-base-uncased", "encoder", ("fp32", "int8-torchao"), context=128),
    Case("all-minilm-l6-v2", "embedding", ("fp32", "int8-quanto", "int8"), context=128),
    Case("t5-base", "encoder-decoder", ("fp32", "int8-quanto"), context=128),
    Case("bart-base", "encoder-decoder", ("fp32",), context=128),
    Case("clip-vit-base-patch32", "CLIP", ("fp32", "int8-quanto")),
    Case("llava-1.5-7b-hf", "vision-language, 1 layer of text", ("fp16", "nf4"), layers=1),
    Case("whisper-base", "speech", ("fp32", "int8-torchao"), context=64),
    Case("mamba-130m-hf", "state-space", ("fp32", "int8"), context=64),
    Case("mixtral-8x7b-v0.1", "mixture of experts, 1 layer", ("fp16", "int8-quanto"), layers=1, context=128),
    Case("deepseek-v3", "latent attention, 1 dense layer", ("fp16",), layers=1, context=128),
    Case("qwen3-0.6b", "decoder with normed heads, 6 layers", ("fp16", "int8-quanto"), layers=6, context=256),
)


def in_order(cases: Sequence[Case]) -> list[tuple[Case, str]]:
    """Each case at its first precision, then each at its second, and so on: the time may not be enough for all."""
    most = max((len(case.precisions) for case in cases), default=0)
    return [(case, case.precisions[place]) for place in range(most) for case in cases if place < len(case.precisions)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.name}")
    parser.add_argument("--only", action="append", metavar="NAME", help="only models whose id contains NAME")
    parser.add_argument("--seconds", type=float, default=720.0, metavar="N", help="begin no other case after that")
    chosen = parser.parse_args()
    cases = [case for case in CASES if not chosen.only or any(name in case.model for name in chosen.only)]
    print(header())
    rows: list[dict[str, Any]] = []
    left_out = []
    started = time.monotonic()
    for case, precision in in_order(cases):
        if time.monotonic() - started > chosen.seconds:
            left_out.append(f"{case.model} {precision}")
            continue
        rows.append(run(case, precision))
        print(line(rows[-1]), flush=True)
    summary = {**summarise(rows), "left_out": left_out, "took_s": round(time.monotonic() - started)}
    print(json.dumps(summary, indent=1))
    if chosen.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**summary, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if any("measured" in row for row in rows) else 1


def run(case: Case, precision: str) -> dict[str, Any]:
    """One row: the figures of a trial, or why there are none."""
    about: dict[str, Any] = {"model": case.model, "stands_for": case.stands_for, "precision": precision}
    started = time.monotonic()
    try:
        result = try_model(
            case.model,
            precision=precision,
            device="cpu",
            context=case.context,
            checks=["none"],
            sequences=case.sequences,
            random_weights=True,
            layers=case.layers,
            repeat=1,
            keep=False,
            trials=False,
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
        "workload": msgspec.to_builtins(result.workload),
        "predicted": predicted,
        "measured": measured,
        "error": {**result.error, "above_weights": above["predicted"] / above["measured"] - 1},
        "above_weights": above,
        "unaccounted_bytes": result.unaccounted_bytes,
        "checks_failed": [check.name for check in result.checks if check.passed is False],
        "load_s": round(result.speed.load_s or 0.0, 2),
        "ttft_s": None if result.speed.ttft_s is None else round(result.speed.ttft_s.mean, 3),
        "decode_tokens_per_s": None
        if result.speed.decode_tokens_per_s is None
        else round(result.speed.decode_tokens_per_s.mean, 2),
        "warnings": result.warnings,
        "versions": result.engine.libraries,
        "machine": msgspec.to_builtins(result.machine),
    }


SHOWN = ("weights", "cache", "activations", "allocated_peak_bytes", "above_weights", "process_peak_bytes")
"""The parts whose errors are printed."""


AIMS = {
    "weights": (0.0, 0.0),
    "cache": (0.0, 0.0),
    "allocated_peak_bytes": (0.01, 0.04),
    "above_weights": (0.03, 0.10),
    "process_peak_bytes": (0.05, 0.12),
}
"""The largest errors aimed at: the median of all cells, and the 90th percentile, which is also what a single cell is held against."""


def missed(row: dict[str, Any]) -> list[str]:
    """The parts of a cell whose error is beyond what is aimed at for single cells."""
    return [
        f"{part} {row['error'][part]:+.1%}"
        for part, (_, most) in AIMS.items()
        if abs(row["error"].get(part, 0.0)) > most
    ]


def header() -> str:
    """The table's head. Unaccounted: measured less predicted allocated peak."""
    names = ("weights", "cache", "activat.", "peak", "above", "process")
    return (
        f"{'':50} {'error of the prediction':44}\n{'model':24} {'precision':13} {'peak':>10} "
        f"{' '.join(f'{name:>8}' for name in names)} {'unaccounted':>13} {'load s':>7} {'1st s':>7} {'tok/s':>7}"
    )


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    start = f"{row['model'][:24]:24} {row['precision']:13} "
    if "failed" in row:
        return f"{start}failed: {row['failed']}"
    errors = [row["error"].get(part) for part in SHOWN]
    shown = " ".join(f"{'-' if error is None else f'{error:+.1%}':>8}" for error in errors)
    times = " ".join(
        f"{'-' if value is None else value:>7}" for value in (row["load_s"], row["ttft_s"], row["decode_tokens_per_s"])
    )
    peak = format_bytes(row["measured"]["allocated_peak_bytes"])
    beyond = f"  misses: {', '.join(misses)}" if (misses := missed(row)) else ""
    return f"{start}{peak:>10} {shown} {row['unaccounted_bytes']:>13,} {times}{beyond}"


def _met(found: dict[str, Any], median: float, p90: float) -> bool:
    return bool(found["median"] <= median and found["p90"] <= p90)


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Date, machine, and the largest and median absolute errors."""
    done = [row for row in rows if "failed" not in row]
    errors: dict[str, dict[str, Any]] = {}
    for part in SHOWN:
        found = sorted(abs(row["error"][part]) for row in done if part in row["error"])
        if found:
            errors[part] = {
                "median": round(found[len(found) // 2], 5),
                "p90": round(found[int(0.9 * (len(found) - 1))], 5),
                "largest": round(found[-1], 5),
                "rows": len(found),
            }
            if part in AIMS:
                errors[part] |= {"aim": AIMS[part], "met": _met(errors[part], *AIMS[part])}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": done[0]["machine"] if done else None,
        "versions": done[0]["versions"] if done else None,
        "absolute_error": errors,
        "architectures": len({row["model"] for row in done}),
        "failed": {f"{row['model']} {row['precision']}": row["failed"] for row in rows if "failed" in row},
        "beyond_the_aims": {f"{row['model']} {row['precision']}": found for row in done if (found := missed(row))},
    }


if __name__ == "__main__":
    sys.exit(main())
