"""The answers of `fmkit trials list` and `fmkit trials import`."""

from __future__ import annotations

import msgspec

from fmkit.results.trial import TrialResult


class TrialLine(msgspec.Struct, frozen=True, kw_only=True):
    """One kept trial in a line; bytes, and tokens per second of one sequence. `error` is that of the allocated peak."""

    id: str
    date: str
    model: str
    precision: str
    engine: str
    engine_version: str
    machine: str
    context_tokens: int
    sequences: int
    random_weights: bool
    allocated_peak_bytes: int | None
    error: float | None
    decode_tokens_per_s: float | None


class TrialList(msgspec.Struct, frozen=True, kw_only=True):
    """The trials kept on this computer, oldest first; `unreadable` are ids of records that are none (`trials show` says why)."""

    schema: str = "fmkit.trials/1"
    path: str
    trials: tuple[TrialLine, ...]
    unreadable: tuple[str, ...] = ()


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: how many trials the file holds, and how many of them were new here.

    `conflicts` are ids that stand for another trial here, or twice in the file: the trial that was here (the first) stays.
    """

    schema: str = "fmkit.import/1"
    file: str
    trials: int
    added: int
    conflicts: tuple[str, ...] = ()


class TrialExport(msgspec.Struct, frozen=True, kw_only=True):
    """Whole trials in one object."""

    schema: str = "fmkit.export/1"
    trials: tuple[TrialResult, ...]
