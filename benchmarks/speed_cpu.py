"""Speed on this machine, predicted after `fmkit hardware measure` and then measured: transformers on the processor.

    python -m benchmarks.speed_cpu [--write] [--quick]

Ten architectures with random weights (speed does not know the difference), bfloat16 and float32, prompts of 64, 256 and 512 tokens, one
and four sequences. None of them was used to fit anything that the prediction uses: rates come from timed calls, not from models.
Measure on an idle machine: the benchmark measures it first, and says how busy it was. `--write` keeps the result in
benchmarks/results/speed_cpu.json. Takes about 25 minutes on two cores; `--quick` one prompt and one sequence.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fmkit.api.measure import measure_hardware
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.catalog.paths import source_folder
from fmkit.hardware import detect
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.rates import MachineRates
from fmkit.speed.roofline import estimate as estimate_speed

RESULT = Path(__file__).parent / "results" / "speed_cpu.json"
MODELS = (
    "smollm2-360m-instruct", "pythia-410m", "qwen3-0.6b", "llama-3.2-1b-instruct", "gemma-3-1b-it", "gpt2-medium",
    "deepseek-coder-1.3b-instruct", "mamba-370m-hf", "qwen2.5-coder-1.5b-instruct", "smollm2-1.7b-instruct",
)  # fmt: skip
PRECISIONS = {"fp16": torch.bfloat16, "fp32": torch.float32}
PROMPTS = (64, 256, 512)
SEQUENCES = (1, 4)
STEPS = 8
REPEATS = 3


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One model, type, prompt and number of sequences: seconds to the first token and per step, predicted and measured."""

    model: str
    dtype: str
    prompt_tokens: int
    sequences: int
    ttft_s: float
    predicted_ttft_s: float
    step_s: float
    predicted_step_s: float
    ttft_in_range: bool
    step_in_range: bool


def main(arguments: list[str]) -> None:
    catalog = load_catalog()
    rates = measure_hardware(
        device="cpu", keep=False, say=lambda text: print(f"measuring: {text}", file=sys.stderr)
    ).rates
    for warning in rates.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    cells = list(measured(catalog, rates, quick="--quick" in arguments))
    found = summary(cells)
    print(f"{len(cells)} cells, load {os.getloadavg()[0]:.1f}")
    for name, figures in found.items():
        print(f"{name:8s} median {figures['median']:.1%}  p90 {figures['p90']:.1%}  in range {figures['in_range']:.0%}")
    if "--write" in arguments:
        RESULT.write_bytes(
            msgspec.json.format(msgspec.json.encode({"rates": rates, "summary": found, "cells": cells}), indent=1)
            + b"\n"
        )


def measured(catalog: Catalog, rates: MachineRates, *, quick: bool) -> Iterator[Cell]:
    """Every cell, one model in memory at a time."""
    for model in MODELS:
        file = catalog.model(model).config_file
        assert file is not None
        config = AutoConfig.from_pretrained(source_folder() / "configs" / file)
        for precision, dtype in PRECISIONS.items():
            built = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
            for prompt in PROMPTS[:1] if quick else PROMPTS:
                for sequences in SEQUENCES[:1] if quick else SEQUENCES:
                    cell = one_cell(catalog, rates, model, precision, prompt, sequences, built)
                    print(cell, file=sys.stderr)
                    yield cell
            del built


def one_cell(
    catalog: Catalog, rates: MachineRates, model: str, precision: str, prompt: int, sequences: int, built: Any
) -> Cell:
    """Predict, then run."""
    spec = catalog.model(model).spec
    assert spec is not None
    engine, machine = catalog.engines["transformers"], detect()
    layout = catalog.layouts[engine.layouts[precision]]
    if precision == "fp16":
        layout = msgspec.structs.replace(layout, rest_dtype="bfloat16")
    workload = Workload(context_tokens=prompt + STEPS // 2, sequences=sequences)
    memory = estimate_memory(spec, engine, layout, precision, workload, machine)
    speed = estimate_speed(spec, memory, layout, machine, catalog.speed, prompt, rates=rates)
    assert speed is not None
    assert speed.ttft_s is not None
    assert speed.decode_tokens_per_s is not None
    ttft_s, step_s = run(built, prompt, sequences)
    return Cell(
        model=model,
        dtype=str(PRECISIONS[precision]).removeprefix("torch."),
        prompt_tokens=prompt,
        sequences=sequences,
        ttft_s=ttft_s,
        predicted_ttft_s=speed.ttft_s.median,
        step_s=step_s,
        predicted_step_s=1 / speed.decode_tokens_per_s.median,
        ttft_in_range=speed.ttft_s.low <= ttft_s <= speed.ttft_s.high,
        step_in_range=speed.decode_tokens_per_s.low <= 1 / step_s <= speed.decode_tokens_per_s.high,
    )


def run(model: Any, prompt: int, sequences: int) -> tuple[float, float]:
    """Median seconds to the first token, and of one step after it."""
    with torch.inference_mode():
        return _timed(model, prompt, sequences)


def _timed(model: Any, prompt: int, sequences: int) -> tuple[float, float]:
    first, steps = [], []
    model(torch.randint(0, 1000, (sequences, 8)))  # pages of the weights are touched, and kernels chosen
    for _ in range(REPEATS):
        tokens = torch.randint(0, 1000, (sequences, prompt))
        started = time.perf_counter()
        out = model(tokens, use_cache=True, logits_to_keep=1) if keeps_logits(model) else model(tokens, use_cache=True)
        first.append(time.perf_counter() - started)
        for _ in range(STEPS):
            started = time.perf_counter()
            out = model(out.logits[:, -1:].argmax(-1), use_cache=True, **cache_of(out))
            steps.append(time.perf_counter() - started)
    return median(first), median(steps)


def cache_of(out: Any) -> dict[str, Any]:
    """The cache of the last call under the name that the next call takes it by."""
    name = "past_key_values" if "past_key_values" in out else "cache_params"
    return {name: out[name]}


def keeps_logits(model: Any) -> bool:
    """Whether the head can run for the last token only, as `generate` asks it to."""
    return "logits_to_keep" in model.forward.__code__.co_varnames


def summary(cells: list[Cell]) -> dict[str, dict[str, float]]:
    """Median and 90th percentile of the error (predicted over measured rate, less one), and the share inside the range."""
    pairs = {
        "ttft": [(cell.ttft_s / cell.predicted_ttft_s - 1, cell.ttft_in_range) for cell in cells],
        "decode": [(cell.step_s / cell.predicted_step_s - 1, cell.step_in_range) for cell in cells],
    }
    found = {}
    for name, values in pairs.items():
        errors = sorted(abs(error) for error, _ in values)
        found[name] = {
            "median": round(median(errors), 4),
            "p90": round(errors[min(len(errors) - 1, int(0.9 * len(errors)))], 4),
            "in_range": round(sum(inside for _, inside in values) / len(values), 3),
        }
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
