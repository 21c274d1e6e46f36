"""The answer of `fmkit accuracy`: schema fmkit.accuracy/1."""

from __future__ import annotations

import msgspec


class AccuracyGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one quantity; `engine`, `engine_version` and `device` are None where they were not told apart.

    `median_error` and `p90_error` are of |predicted / measured - 1|, `bias` is the median with its sign; all are fractions, and None
    for out of memory, where right or wrong is all there is. `within_30_percent` and `interval_coverage` are shares of `rows`.
    `left_out` counts the figures of the group that were not scored.
    """

    quantity: str
    engine: str | None = None
    engine_version: str | None = None
    device: str | None = None
    rows: int
    left_out: int
    median_error: float | None
    p90_error: float | None
    bias: float | None
    within_30_percent: float | None
    interval_coverage: float | None


class FitRule(msgspec.Struct, frozen=True, kw_only=True):
    """How often a rule foresees whether memory runs out: of the rows where it did (`recall_oom`) and where it did not."""

    rule: str
    engine: str | None
    oom_rows: int
    ok_rows: int
    recall_oom: float | None
    recall_ok: float | None


class AccuracyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: predicted with the bounds stated with it, and measured; `note` says what of the measurement was taken how.

    Bytes, tokens per second, or (oom) 1 where memory ran out and 0 where it did not.
    """

    measurement_id: str
    quantity: str
    engine: str
    engine_version: str
    device: str
    predicted: float
    low: float
    high: float
    measured: float
    note: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that was not scored, and why; a line that could not be read has no quantity."""

    measurement_id: str
    quantity: str
    engine: str
    device: str
    reason: str


class AccuracyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit accuracy` prints. `engines` is `overall` by engine, `versions` the peaks of memory by release of the engine.

    `shipped` and `own` are `engines` of the shipped measurements alone and of the trials kept on this computer alone; empty where only one
    of them was scored.
    """

    schema: str = "fmkit.accuracy/1"
    fmkit: str
    catalog: str
    measured_in: tuple[str, ...]
    overall: tuple[AccuracyGroup, ...]
    engines: tuple[AccuracyGroup, ...]
    versions: tuple[AccuracyGroup, ...]
    groups: tuple[AccuracyGroup, ...]
    out_of_memory: tuple[FitRule, ...]
    rows: tuple[AccuracyRow, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()
    shipped: tuple[AccuracyGroup, ...] = ()
    own: tuple[AccuracyGroup, ...] = ()
