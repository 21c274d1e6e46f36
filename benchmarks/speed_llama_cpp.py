"""Speed of llama.cpp on this processor, predicted after `fmkit hardware measure` and then measured through xllamacpp.

    python -m benchmarks.speed_llama_cpp [--write]

Three models at their true widths, depths and vocabularies with random weights in three types, prompts of 64 and 512 tokens, one and four
sequences. Nothing in the prediction comes from them: the kernels were timed in other files. The timed file of the model's
first type is run again beside each model, and two errors are stated, as predicted and with that drift taken out.
`--write` keeps the result in benchmarks/results/speed_llama_cpp.json. Takes about 15 minutes, 1.5 GB of disk and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' writer of GGUF headers

from benchmarks.speed.errors import errors
from fmkit.api.layouts import layout_for
from fmkit.api.measure import measure_hardware
from fmkit.api.processor_rates import rated
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.hardware import detect
from fmkit.model.gguf_mix import mixed
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.rates import LlamaCppRates, MachineRates
from fmkit.speed.roofline import estimate as estimate_speed
from fmkit.trial.engines.llama_cpp import LlamaCppEngine
from fmkit.trial.llama_cpp_rates import WIDE, Timed
from fmkit.trial.request import TrialRequest
from fmkit.trial.synthetic_gguf import data_bytes, write_data
from tests.gguf_file import write_model

RESULT = Path(__file__).parent / "results" / "speed_llama_cpp.json"
MODELS = ("smollm2-135m-instruct", "qwen3-0.6b", "tinyllama-1.1b-chat-v1.0")
PRECISIONS = {"fp16": "F16", "int8": "Q8_0", "int4": "Q4_K_M"}
FIRST_TYPES = {"fp16": "F16", "int8": "Q8_0", "int4": "Q4_K"}
PROMPTS = (64, 512)
SEQUENCES = (1, 4)
STEPS = 16
MANY = 64
"""Tokens of the prompt that the drift is told from."""

REPEATS, MORE_REPEATS = 3, 7
LONG_S = 0.5
"""A prompt that takes longer is read `REPEATS` times, a shorter one more often."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second of one workload, predicted and measured; the drifts are seconds of the timed file's passes now over before."""

    model: str
    file_type: str
    prompt_tokens: int
    sequences: int
    prefill_per_s: float
    predicted_prefill_per_s: float
    decode_per_s: float
    predicted_decode_per_s: float
    prefill_drift: float
    decode_drift: float


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One run: seconds of the prompt, tokens per second, and the drift before and after, by tokens at once."""

    prefill_s: float
    prefill_per_s: float
    decode_per_s: float
    drift: dict[int, float]


Clock = Callable[[], dict[int, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--models", default=",".join(MODELS))
    chosen = parser.parse_args()
    rates = measure_hardware(
        thorough=True, device="cpu", keep=False, say=lambda text: print(f"measuring: {text}", file=sys.stderr)
    ).rates
    for warning in rates.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    assert rates.llama_cpp is not None
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for cell in measured(load_catalog(), rates, rates.llama_cpp, chosen.models.split(","), Path(folder)):
            print(msgspec.json.encode(cell).decode(), file=sys.stderr, flush=True)
            cells.append(cell)
    found = summary(cells)
    for name, figures in found.items():
        print(f"{name:24s} " + "  ".join(f"{key} {value:.1%}" for key, value in figures.items()))
    if chosen.write:
        answer = {
            "date": datetime.now(UTC).date().isoformat(),
            "rates": msgspec.to_builtins(rates.llama_cpp),
            "summary": found,
            "cells": msgspec.to_builtins(cells),
        }
        RESULT.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def measured(
    catalog: Catalog, rates: MachineRates, timed: LlamaCppRates, models: list[str], folder: Path
) -> Iterator[Cell]:
    """Every cell, one file at a time."""
    clocks = {kind: Timed(folder, WIDE, kind) for kind in FIRST_TYPES.values()}
    for model in models:
        spec = catalog.model(model).spec
        assert spec is not None
        for precision, file_type in PRECISIONS.items():
            path = written(folder / "benchmark.gguf", spec, file_type)
            clock = partial(drift, clocks[FIRST_TYPES[precision]], timed, FIRST_TYPES[precision])
            for sequences, prompt in product(SEQUENCES, PROMPTS):
                predicted = predict(catalog, rates, spec, precision, prompt, sequences)
                yield one_cell(
                    model, file_type, run(path, spec, file_type, prompt, sequences, clock), prompt, sequences, predicted
                )
            path.unlink()


def written(path: Path, spec: ModelSpec, file_type: str) -> Path:
    """The model's file with random weights."""
    write_model(path, spec, file_type)
    tensors = [
        (one.kind, one.kind.tensor_bytes(one.tensor.dims))
        for one in mixed(spec, file_type)
        for _ in range(one.tensor.count)
    ]
    with path.open("r+b") as stream:
        stream.seek(-data_bytes(tensors), os.SEEK_END)
        write_data(stream, tensors)
    return path


def drift(clock: Timed, timed: LlamaCppRates, kind: str) -> dict[int, float]:
    """Seconds of passes of the timed file in this type, over those when the machine was measured, by tokens at once."""
    before = {point.tokens: point.per_s for point in timed.weights if point.dtype == kind}
    beside_s = {point.tokens: WIDE.layers * point.seconds + timed.token_s for point in timed.layers}
    now = {count: clock.pass_s(count) for count in (1, MANY)}
    return {count: now[count] / (WIDE.layers * WIDE.layer_weights / before[count] + beside_s[count]) for count in now}


def one_cell(
    model: str, file_type: str, repeats: list[Repeat], prompt: int, sequences: int, predicted: tuple[float, float]
) -> Cell:
    """The medians of what was measured, beside the prediction."""
    return Cell(
        model=model,
        file_type=file_type,
        prompt_tokens=prompt,
        sequences=sequences,
        prefill_per_s=median(one.prefill_per_s for one in repeats),
        predicted_prefill_per_s=predicted[0],
        decode_per_s=median(one.decode_per_s for one in repeats),
        predicted_decode_per_s=predicted[1],
        prefill_drift=median(one.drift[MANY] for one in repeats),
        decode_drift=median(one.drift[1] for one in repeats),
    )


def predict(
    catalog: Catalog, rates: MachineRates, spec: ModelSpec, precision: str, prompt: int, sequences: int
) -> tuple[float, float]:
    """Tokens per second of all prompts together, and of one sequence while decoding."""
    layout = layout_for("llama.cpp", precision, catalog, spec)
    machine = rated(detect(), None, rates)
    workload = Workload(context_tokens=prompt + STEPS // 2, sequences=sequences)
    memory = estimate_memory(spec, catalog.engines["llama.cpp"], layout, precision, workload, machine)
    found = estimate_speed(spec, memory, layout, machine, catalog.speed, prompt, rates=rates)
    assert found is not None
    assert found.basis == "measured-here"
    assert found.prefill_tokens_per_s is not None
    assert found.decode_tokens_per_s is not None
    return found.prefill_tokens_per_s.median, found.decode_tokens_per_s.median


def run(path: Path, spec: ModelSpec, file_type: str, prompt: int, sequences: int, clock: Clock) -> list[Repeat]:
    """The same, measured as `fmkit try` does, each repeat between two looks at the drift."""
    request = TrialRequest(
        model=path.name, kind="decoder", config={"vocab_size": spec.vocab_size}, dtype=file_type, engine="llama.cpp",
        folder=str(path), context_tokens=prompt + STEPS, sequences=sequences, decode_steps=STEPS, repeat=1,
    )  # fmt: skip
    engine = LlamaCppEngine(request)
    engine.load()
    engine.prefill_memory()  # touches all pages
    found: list[Repeat] = []
    before = clock()
    while len(found) < (REPEATS if not found or found[0].prefill_s > LONG_S else MORE_REPEATS):
        timing = engine.timing()
        after = clock()
        found.append(
            Repeat(
                prefill_s=max(timing.ttft_s),
                prefill_per_s=timing.prefill_tokens_per_s[0],
                decode_per_s=timing.decode_tokens_per_s[0],
                drift={tokens: (before[tokens] + after[tokens]) / 2 for tokens in before},
            )
        )
        before = after
    return found


def summary(cells: list[Cell]) -> dict[str, dict[str, float]]:
    """Errors of the predicted rates, as predicted and with the drift taken out."""
    prefill = [cell.predicted_prefill_per_s / cell.prefill_per_s for cell in cells]
    decode = [cell.predicted_decode_per_s / cell.decode_per_s for cell in cells]
    prefill_drift = [cell.prefill_drift for cell in cells]
    decode_drift = [cell.decode_drift for cell in cells]
    return {
        "prefill": errors(prefill),
        "prefill without drift": errors([ratio / drift for ratio, drift in zip(prefill, prefill_drift, strict=True)]),
        "decode": errors(decode),
        "decode without drift": errors([ratio / drift for ratio, drift in zip(decode, decode_drift, strict=True)]),
        "prefill drift": errors(prefill_drift),
        "decode drift": errors(decode_drift),
    }


if __name__ == "__main__":
    main()
