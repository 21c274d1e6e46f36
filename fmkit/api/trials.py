"""`fmkit trials`: the trials kept on this computer; to look at, to give away, to take in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import msgspec

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.results.trial import TrialResult
from fmkit.results.trials import ImportResult, TrialLine, TrialList
from fmkit.trial.store import TrialStore
from fmkit.units import MIB, format_bytes

MOST_IMPORT_BYTES = 256 * MIB
MOST_IMPORT_LINES = 100_000
SCHEMA = "fmkit.trial/1"
LEAST_PREFIX = 4
"""Characters of an id that are enough to name a trial, where no other begins so."""

QUANT_OF = {"fp16": {"bfloat16": "BF16", "float16": "fp16"}, "fp32": {"float32": "fp32"}}
"""What the 16-bit and 32-bit precisions are called in catalog/measurements/memory.csv; others keep their own name."""

MEASUREMENT_COLUMNS = (
    "measurement_id", "split_group", "hub_id", "model_name", "quant", "kv_dtype", "engine", "engine_version", "accelerator_id",
    "accelerator_name", "count", "tp", "pp", "scope", "context_tokens", "batch", "prompt_tokens", "gen_tokens", "weights_bytes",
    "kv_bytes", "activation_bytes", "peak_total_bytes", "peak_method", "outcome", "trust", "source", "date", "notes",
)  # fmt: skip
"""Columns of an export as measurements: a part of those of catalog/measurements/memory.csv, under the same names."""


def list_trials(model: str | None = None) -> TrialList:
    """The kept trials, of one model where it is named (as it was typed when it was tried)."""
    store = TrialStore()
    return TrialList(path=str(store.path), trials=tuple(_line(one) for one in store.all(model)))


def show_trial(trial_id: str) -> TrialResult:
    """The trial of that id, or of the only one that begins with it; UsageError where there is none."""
    store = TrialStore()
    found = store.get(trial_id)
    if found is not None:
        return found
    beginning = [one for one in store.all() if len(trial_id) >= LEAST_PREFIX and one.id.startswith(trial_id)]
    if len(beginning) == 1:
        return beginning[0]
    many = f"{len(beginning)} trials begin with" if beginning else "there is no trial"
    raise UsageError(f"{many} {trial_id!r}", where="ID", next_command="fmkit trials list")


def export_trials(ids: Sequence[str] = (), *, model: str | None = None) -> list[TrialResult]:
    """The trials of those ids, else all, of one model where it is named."""
    return [show_trial(one) for one in ids] if ids else TrialStore().all(model)


def as_lines(trials: Sequence[TrialResult]) -> str:
    """One JSON object a line: what `import_trials` reads."""
    return "".join(msgspec.json.encode(one).decode() + "\n" for one in trials)


def as_measurements(trials: Sequence[TrialResult]) -> str:
    """CSV with columns of catalog/measurements/memory.csv: what the catalog takes, and `fmkit accuracy --measurements` reads.

    Trials whose memory is unknown, those at a server, are left out.
    """
    out = StringIO()
    writer = csv.DictWriter(out, MEASUREMENT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_measurement(one) for one in trials if one.measured)
    return out.getvalue()


def import_trials(path: str) -> ImportResult:
    """Take in the trials of an exported file; all of them, or none where a line can't be read. Known ones are left as they are."""
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MOST_IMPORT_BYTES:
            raise UnsafeInputError(
                f"the file is {format_bytes(size)}; at most {format_bytes(MOST_IMPORT_BYTES)} are read", where=path
            )
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read the file: {error.strerror}", where=path) from error
    lines = [line for line in content.split(b"\n") if line.strip()]
    if len(lines) > MOST_IMPORT_LINES:
        raise UnsafeInputError(f"the file has {len(lines):,} lines; at most {MOST_IMPORT_LINES:,} are read", where=path)
    trials = [_read(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    return ImportResult(file=path, trials=len(trials), added=TrialStore().merge(trials))


def _read(line: bytes, where: str) -> TrialResult:
    """A trial from one line, whole and of the right schema."""
    try:
        trial = msgspec.json.decode(line, type=TrialResult)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnsafeInputError(
            f"no trial: {error}", where=where, next_command="fmkit trials export > FILE, on the other machine"
        ) from error
    if trial.schema != SCHEMA:
        raise UnsafeInputError(f"schema {trial.schema!r}, and this fmkit reads {SCHEMA}", where=where)
    for name in ("context_tokens", "sequences"):
        if not isinstance(trial.workload.get(name), int):
            raise UnsafeInputError(f"the workload has no number for {name}", where=where)
    return trial


def _line(trial: TrialResult) -> TrialLine:
    speed = trial.speed.decode_tokens_per_s
    return TrialLine(
        id=trial.id,
        date=trial.date,
        model=trial.model,
        precision=trial.precision,
        engine=trial.engine.name,
        engine_version=trial.engine.version,
        machine=str(trial.machine.get("name", "unknown")),
        context_tokens=trial.workload["context_tokens"],
        sequences=trial.workload["sequences"],
        random_weights=trial.random_weights,
        allocated_peak_bytes=trial.measured.get("allocated_peak_bytes"),
        error=trial.error.get("allocated_peak_bytes"),
        decode_tokens_per_s=None if speed is None else speed.mean,
    )


def _measurement(trial: TrialResult) -> dict[str, object]:
    work, measured = trial.workload, trial.measured
    dtype = str(work.get("dtype", ""))
    in_file = trial.engine.name == "llama.cpp"  # the type is that of a GGUF file, and the cache has its own
    device = trial.machine.get("device_id") or ""
    notes = [f"fmkit {trial.fmkit} try", *(["random weights"] if trial.random_weights else [])]
    if work.get("layers"):
        notes.append(f"{work['layers']} layers only")
    return {
        "measurement_id": f"T{trial.id}",
        "split_group": f"{trial.model} @ {device or trial.machine.get('name', '')}",
        "hub_id": trial.hub_id or "",
        "model_name": trial.model,
        "quant": f"GGUF {dtype}" if in_file else QUANT_OF.get(trial.precision, {}).get(dtype, trial.precision),
        "kv_dtype": "f16" if in_file else dtype,
        "engine": trial.engine.name,
        "engine_version": trial.engine.version,
        "accelerator_id": device,
        "accelerator_name": trial.machine.get("name", ""),
        "count": trial.machine.get("count", 1),
        "tp": 1,
        "pp": 1,
        "scope": "total",
        "context_tokens": work["context_tokens"],
        "batch": work["sequences"],
        "prompt_tokens": work["context_tokens"],
        "gen_tokens": 1,
        "weights_bytes": measured.get("weights", ""),
        "kv_bytes": measured.get("cache", ""),
        "activation_bytes": measured.get("activations", ""),
        "peak_total_bytes": measured.get("allocated_peak_bytes", ""),
        "peak_method": "buffers that llama.cpp logs" if in_file else "allocated by PyTorch",
        "outcome": "ok",
        "trust": "A",
        "source": f"fmkit trial {trial.id}",
        "date": trial.date[:10],
        "notes": "; ".join(notes),
    }
