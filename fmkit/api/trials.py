"""`fmkit trials`: the trials kept on this computer; to look at, to give away, to take in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fmkit.api.trial_evidence import predicted_speed
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


def list_trials(model: str | None = None) -> TrialList:
    """The kept trials, of one model where it is named (as it was typed when it was tried)."""
    store = TrialStore()
    lines = tuple(_line(one) for one in store.all(model))
    return TrialList(path=str(store.path), trials=lines, unreadable=store.unreadable())


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
    added, conflicts = TrialStore().merge(trials)
    return ImportResult(file=path, trials=len(trials), added=added, conflicts=conflicts)


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
    if trial.speed.predicted and predicted_speed(trial) is None:
        raise UnsafeInputError("the predicted speed is none", where=where)
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
        machine=trial.machine.name,
        context_tokens=trial.workload.context_tokens,
        sequences=trial.workload.sequences,
        random_weights=trial.random_weights,
        allocated_peak_bytes=trial.measured.get("allocated_peak_bytes"),
        error=trial.error.get("allocated_peak_bytes"),
        decode_tokens_per_s=None if speed is None else speed.mean,
    )
