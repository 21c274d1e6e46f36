"""Speed on this machine, predicted after `fmkit hardware measure` and then measured: transformers on the processor.

    python -m benchmarks.speed_cpu [--write] [--quick] [--minutes 60]

Ten architectures with random weights (speed does not know the difference), bfloat16 and float32, prompts of 32, 128 and 512 tokens, one
and four sequences. None of them is among the measurements that the speed model is fitted to, and the prediction uses no fit: rates come from timed
calls, not from models.

The machine is measured for each model and type right before it runs, as `fmkit hardware measure --thorough` does: who wants to know measures,
and then runs. A machine's speed drifts within minutes all the same, most on shared hosts. The small Llama that was timed is timed again before and
after each repeat (`fmkit/trial/drift.py`; it knows nothing of the model), and two errors are stated: of the prediction as it was made, and
of the prediction times the drift of the calls beside it.

`--write` keeps the result in benchmarks/results/speed_cpu.json; with `--models`, cells of other models stay there. `--quick` does one prompt and one
sequence. Cells that no longer fit in the minutes given are left out, and counted.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.speed.errors import errors
from fmkit.api.measure import measure_hardware
from fmkit.api.processor_rates import rated
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.catalog.paths import source_folder
from fmkit.hardware import detect
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.rates import MachineRates, TorchRates
from fmkit.speed.roofline import estimate as estimate_speed
from fmkit.trial.drift import Clock, Drift
from fmkit.trial.random_weights import build_random
from fmkit.trial.rates import CPU_SHAPES, measure_torch

RESULT = Path(__file__).parent / "results" / "speed_cpu.json"
MODELS = (
    "ernie-4.5-0.3b-pt", "gpt2-medium", "pythia-410m", "mamba-370m-hf", "qwen1.5-0.5b-chat", "opt-1.3b",
    "deepseek-coder-1.3b-instruct", "phi-1_5", "stablelm-2-1_6b", "falcon3-1b-instruct",
)  # fmt: skip
PRECISIONS = {"fp16": "bfloat16", "fp32": "float32"}
PROMPTS = (32, 128, 512)
SEQUENCES = (1, 4)
STEPS = 8
REPEATS = 3
LONG_S = 4.0
"""A prompt that takes longer is read once."""

LARGE_DRIFT = 0.15


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of the machine in one type, and the model that was predicted from it."""

    date: str
    transformers: str
    model: str
    dtype: str
    rates: MachineRates


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One model, type, prompt and number of sequences: seconds to the first token and per step, predicted and measured.

    `drift` is how much slower than when it was measured the machine was while the cell ran; the steady seconds are without it, each
    repeat's by its own.
    """

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
    steady_ttft_s: float
    steady_step_s: float
    drift: Drift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one prompt and one sequence")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--models", default=",".join(MODELS))
    chosen = parser.parse_args()
    unknown = set(chosen.models.split(",")) - set(MODELS)
    if unknown:
        parser.error(f"unknown models: {', '.join(sorted(unknown))}; known are {', '.join(MODELS)}")
    catalog = load_catalog()
    tell = lambda text: print(f"measuring: {text}", file=sys.stderr)  # noqa: E731
    bandwidths = measure_hardware(light=True, keep=False, say=tell).rates
    for warning in bandwidths.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    end = time.monotonic() + 60 * chosen.minutes
    runs: list[Run] = []
    cells = []
    for cell in measured(catalog, bandwidths, chosen.models.split(","), runs, quick=chosen.quick, end=end):
        print(msgspec.json.encode(cell).decode(), file=sys.stderr, flush=True)
        cells.append(cell)
    found = beside_others(cells, runs)
    print(f"{len(found.cells)} cells, {found.left_out} left out, load {os.getloadavg()[0]:.1f}")
    for name, figures in found.summary.items():
        print(f"{name:40s} " + "  ".join(f"{key} {value:.1%}" for key, value in figures.items()))
    if chosen.write:
        RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def beside_others(cells: list[Cell], runs: list[Run]) -> Result:
    """The cells and runs with those of other models and types that the file holds."""
    kept = msgspec.json.decode(RESULT.read_bytes(), type=Result)
    measured_again = {(cell.model, cell.dtype) for cell in cells}
    every = [*(cell for cell in kept.cells if (cell.model, cell.dtype) not in measured_again), *cells]
    every.sort(key=lambda cell: (MODELS.index(cell.model), cell.dtype))
    missing = len(MODELS) * len(PRECISIONS) * len(PROMPTS) * len(SEQUENCES) - len(every)
    others = [run for run in kept.runs if (run.model, run.dtype) not in measured_again]
    own = [run for run in runs if (run.model, run.dtype) in measured_again]
    return Result(runs=(*others, *own), left_out=missing, summary=summary(every), cells=tuple(every))


def measured(
    catalog: Catalog, bandwidths: MachineRates, models: list[str], runs: list[Run], *, quick: bool, end: float
) -> Iterator[Cell]:
    """Every cell that there is time for, one model in memory at a time; `runs` gather what was measured before each model and type."""
    prompts, counts = (PROMPTS[:1], SEQUENCES[:1]) if quick else (PROMPTS, SEQUENCES)
    for model in models:
        for precision, dtype in PRECISIONS.items():
            if time.monotonic() > end:
                return
            built = build(catalog, model, dtype)
            runs.append(measured_for(model, dtype, bandwidths))
            for prompt in prompts:
                for sequences in counts:
                    if time.monotonic() > end:
                        return
                    yield one_cell(catalog, runs[-1].rates, model, precision, prompt, sequences, built)


def measured_for(model: str, dtype: str, bandwidths: MachineRates) -> Run:
    """The calls of one type, timed now."""
    shapes = msgspec.structs.replace(CPU_SHAPES, dtypes=(dtype,))
    torch_rates = measure_torch("cpu", lambda _: None, thorough=True, shapes=shapes)
    return Run(
        date=datetime.now(UTC).date().isoformat(),
        transformers=transformers.__version__,
        model=model,
        dtype=dtype,
        rates=msgspec.structs.replace(bandwidths, torch=(torch_rates,)),
    )


def build(catalog: Catalog, model: str, dtype: str) -> Any:
    """The model at its true size with random weights."""
    file = catalog.model(model).config_file
    assert file is not None
    config = json.loads((source_folder() / "configs" / file).read_text(encoding="utf-8"))
    return build_random(
        getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config["model_type"]]), config, dtype, "cpu"
    )


def one_cell(
    catalog: Catalog, rates: MachineRates, model: str, precision: str, prompt: int, sequences: int, built: Any
) -> Cell:
    """Predict, then run."""
    spec = catalog.model(model).spec
    assert spec is not None
    engine, machine = catalog.engines["transformers"], rated(detect(), None, rates)
    assert machine is not None
    layout = msgspec.structs.replace(catalog.layouts[engine.layouts[precision]], rest_dtype=PRECISIONS[precision])
    workload = Workload(context_tokens=prompt + STEPS // 2, sequences=sequences)
    memory = estimate_memory(spec, engine, layout, precision, workload, machine)
    speed = estimate_speed(spec, memory, layout, machine, catalog.speed, prompt, rates=rates)
    assert speed is not None
    assert speed.basis == "measured-here"
    assert speed.ttft_s is not None
    assert speed.decode_tokens_per_s is not None
    torch_rates = rates.on(cpu=True)
    assert torch_rates is not None
    repeats = run(built, prompt, sequences, clock(torch_rates, PRECISIONS[precision]).drift)
    ttft_s, step_s = (median(getattr(one, part) for one in repeats) for part in ("ttft_s", "step_s"))
    return Cell(
        model=model,
        dtype=PRECISIONS[precision],
        prompt_tokens=prompt,
        sequences=sequences,
        ttft_s=ttft_s,
        predicted_ttft_s=speed.ttft_s.median,
        step_s=step_s,
        predicted_step_s=1 / speed.decode_tokens_per_s.median,
        ttft_in_range=speed.ttft_s.low <= ttft_s <= speed.ttft_s.high,
        step_in_range=speed.decode_tokens_per_s.low <= 1 / step_s <= speed.decode_tokens_per_s.high,
        steady_ttft_s=median(one.ttft_s / one.drift.prefill for one in repeats),
        steady_step_s=median(one.step_s / one.drift.decode for one in repeats),
        drift=Drift(
            decode=median(one.drift.decode for one in repeats), prefill=median(one.drift.prefill for one in repeats)
        ),
    )


@lru_cache(maxsize=1)
def clock(rates: TorchRates, dtype: str) -> Clock:
    """The calls that tell the drift in one type, built once for all cells of a model and type."""
    return Clock(rates, dtype)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `left_out` counts cells of all that the module names that there was no time for."""

    runs: tuple[Run, ...]
    left_out: int
    summary: dict[str, dict[str, float]]
    cells: tuple[Cell, ...]


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt and the steps after it: seconds to the first token, the median step, and the drift of the calls before and after."""

    ttft_s: float
    step_s: float
    drift: Drift


@torch.inference_mode()  # type: ignore[untyped-decorator]
def run(model: Any, prompt: int, sequences: int, drift: Callable[[], Drift]) -> list[Repeat]:
    """Prompts read and continued, each between two looks at the drift."""
    found: list[Repeat] = []
    last_only = {"logits_to_keep": 1} if keeps_logits(model) else {}
    model(torch.randint(0, 1000, (sequences, 8)), **last_only)  # pages are touched, and kernels chosen
    before = drift()
    while len(found) < REPEATS and (not found or found[-1].ttft_s < LONG_S):
        tokens = torch.randint(0, 1000, (sequences, prompt))
        started = time.perf_counter()
        out = model(tokens, use_cache=True, **last_only)
        ttft_s = time.perf_counter() - started
        steps = []
        for _ in range(STEPS):
            started = time.perf_counter()
            out = model(out.logits[:, -1:].argmax(-1), use_cache=True, **cache_of(out))
            steps.append(time.perf_counter() - started)
        after = drift()
        found.append(Repeat(ttft_s=ttft_s, step_s=median(steps), drift=before.with_later(after)))
        before = after
    return found


def cache_of(out: Any) -> dict[str, Any]:
    """The cache of the last call under the name that the next call takes it by."""
    name = "past_key_values" if "past_key_values" in out else "cache_params"
    return {name: out[name]}


def keeps_logits(model: Any) -> bool:
    """Whether the head can run for the last token only, as `generate` asks it to."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def summary(cells: list[Cell]) -> dict[str, dict[str, float]]:
    """Errors (predicted over measured rate, less one) as predicted and with the drift taken out, over all cells and by model and type."""
    groups = {"": cells}
    for cell in cells:
        groups.setdefault(f", {cell.model}", []).append(cell)
        groups.setdefault(f", {cell.dtype}", []).append(cell)
    found = {}
    for name, chosen in groups.items():
        ttft = [cell.ttft_s / cell.predicted_ttft_s for cell in chosen]
        step = [cell.step_s / cell.predicted_step_s for cell in chosen]
        steady_ttft = [cell.steady_ttft_s / cell.predicted_ttft_s for cell in chosen]
        steady_step = [cell.steady_step_s / cell.predicted_step_s for cell in chosen]
        found[f"ttft{name}"] = errors(ttft) | {"in_range": share(cell.ttft_in_range for cell in chosen)}
        found[f"ttft without drift{name}"] = errors(steady_ttft)
        found[f"decode{name}"] = errors(step) | {"in_range": share(cell.step_in_range for cell in chosen)}
        found[f"decode without drift{name}"] = errors(steady_step)
    found["drift of prefill calls"] = errors([cell.drift.prefill for cell in cells])
    found["drift of decode calls"] = errors([cell.drift.decode for cell in cells])
    drifts = [drift for cell in cells for drift in (cell.drift.prefill, cell.drift.decode)]
    found["cells with a drift above 15 %"] = {"share": share(abs(drift - 1) > LARGE_DRIFT for drift in drifts)}
    return found


def share(flags: Iterator[bool]) -> float:
    """The part of them that is true."""
    every = list(flags)
    return round(sum(every) / len(every), 3)


if __name__ == "__main__":
    main()
