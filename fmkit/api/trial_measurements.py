"""Kept trials as measurements: CSV with columns of catalog/measurements/, which the catalog takes and `fmkit accuracy --measurements` reads."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

from fmkit.results.trial_setting import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fmkit.results.trial import TrialResult

SOURCE = "fmkit trial"
"""What the source of such a row begins with."""

QUANT_OF = {"fp16": {"bfloat16": "BF16", "float16": "fp16"}, "fp32": {"float32": "fp32"}}
"""What the 16-bit and 32-bit precisions are called in catalog/measurements/; others keep their own name."""

ABOUT = (
    "measurement_id", "split_group", "hub_id", "model_name", "quant", "kv_dtype", "engine", "engine_version", "accelerator_id",
    "accelerator_name", "count", "tp", "pp", "context_tokens", "batch", "prompt_tokens", "gen_tokens", "trust", "source", "date", "notes",
)  # fmt: skip
MEMORY_COLUMNS = (
    *ABOUT,
    "scope",
    "weights_bytes",
    "kv_bytes",
    "activation_bytes",
    "peak_total_bytes",
    "peak_method",
    "outcome",
)
"""A part of the columns of catalog/measurements/memory.csv, under the same names."""
LATENCY_COLUMNS = (*ABOUT, "measures", "prefill_tok_s", "ttft_ms", "decode_tok_s_per_seq")
"""A part of those of catalog/measurements/latency.csv."""


def memory_csv(trials: Sequence[TrialResult]) -> str:
    """Two rows for a trial: its tensors by part, and the peak of its process.

    Left out are trials whose memory is unknown (at a server), of models divided or off-loaded, and of those cut short, which have no name
    of their own.
    """
    return _csv(
        MEMORY_COLUMNS, (row for one in trials if one.measured and one.workload.is_whole for row in _memory(one))
    )


def latency_csv(trials: Sequence[TrialResult]) -> str:
    """A row for each trial of a whole model that was timed: the rate of reading all prompts, and of writing one sequence."""
    return _csv(LATENCY_COLUMNS, (row for one in trials if one.workload.is_whole for row in _latency(one)))


def _csv(columns: Sequence[str], rows: Iterable[dict[str, object]]) -> str:
    out = StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _about(trial: TrialResult) -> dict[str, object]:
    work = trial.workload
    dtype = "" if work.dtype == UNKNOWN else work.dtype
    in_file = trial.engine.name == "llama.cpp"  # the type is that of a GGUF file, and the cache has its own
    device = "cpu" if work.device == "cpu" else trial.machine.device_id or ""
    notes = [f"fmkit {trial.fmkit} try", *(["random weights"] if trial.random_weights else [])]
    return {
        "measurement_id": f"T{trial.id}",
        "split_group": f"{trial.model} @ {device or trial.machine.name}",
        "hub_id": trial.hub_id or "",
        "model_name": trial.model,
        "quant": f"GGUF {dtype}" if in_file else QUANT_OF.get(trial.precision, {}).get(dtype, trial.precision),
        "kv_dtype": "f16" if in_file else dtype,
        "engine": trial.engine.name,
        "engine_version": trial.engine.version,
        "accelerator_id": device,
        "accelerator_name": trial.machine.name,
        "count": trial.machine.count,
        "tp": 1,
        "pp": 1,
        "context_tokens": work.context_tokens,
        "batch": work.sequences,
        "prompt_tokens": work.context_tokens,
        "gen_tokens": 1,
        "trust": "A",
        "source": f"{SOURCE} {trial.id}",
        "date": trial.date[:10],
        "notes": "; ".join(notes),
    }


def _memory(trial: TrialResult) -> Iterator[dict[str, object]]:
    about, measured = _about(trial), trial.measured
    in_file = trial.engine.name == "llama.cpp"
    yield about | {
        "scope": "total",
        "weights_bytes": measured.get("weights", ""),
        "kv_bytes": measured.get("cache", ""),
        "activation_bytes": measured.get("activations", ""),
        "peak_total_bytes": measured.get("allocated_peak_bytes", ""),
        "peak_method": "buffers that llama.cpp logs" if in_file else "allocated by PyTorch",
        "outcome": "ok",
    }
    if "process_peak_bytes" in measured:
        yield about | {
            "measurement_id": f"T{trial.id}-process",
            "scope": "total",
            "peak_total_bytes": measured["process_peak_bytes"],
            "peak_method": "peak of the process",
            "outcome": "ok",
        }


def _latency(trial: TrialResult) -> Iterator[dict[str, object]]:
    speed, work = trial.speed, trial.workload
    wait, rate = speed.ttft_s, speed.decode_tokens_per_s
    prompt = work.timed_prompt_tokens if rate is not None else work.context_tokens
    if wait is None or wait.mean <= 0 or not prompt or trial.server is not None:
        return
    yield _about(trial) | {
        "measures": "prefill" if rate is None else "prefill+decode",
        "prompt_tokens": prompt,
        "gen_tokens": 0 if rate is None else work.timed_decode_tokens,
        "prefill_tok_s": round(prompt * work.sequences / wait.mean, 3),
        "ttft_ms": round(1000 * wait.mean, 3),
        "decode_tok_s_per_seq": "" if rate is None else round(rate.mean, 3),
    }
