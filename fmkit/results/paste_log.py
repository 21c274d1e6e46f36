"""The answer of `fmkit vram --paste-log`: schema fmkit.log/1."""

from __future__ import annotations

import msgspec

from fmkit.results.vram import ModelSummary


class LogPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part: what the log says it took, and what fmkit predicts for the log's settings, with the bounds stated for it.

    `predicted_bytes` is None for what fmkit does not predict. `error` is predicted over actual, less one. `within` says whether the
    actual figure lies inside the bounds, to the digit that was printed.
    """

    part: str
    predicted_bytes: int | None
    low_bytes: int | None
    high_bytes: int | None
    actual_bytes: int
    error: float | None
    within: bool | None
    reason: str
    line: str


class PasteLogResult(msgspec.Struct, frozen=True, kw_only=True):
    """A start-up log beside the estimate for the same model and settings. Figures are of one device, for llama.cpp of all.

    `settings` is what the log said, `assumed` what it did not say and was taken instead. `missed_most` names the part with the largest
    gap in bytes; None where every part lies within its bounds.
    """

    schema: str = "fmkit.log/1"
    fmkit: str
    catalog: str
    source: str
    engine: str
    engine_version: str | None
    model: ModelSummary
    precision: str
    layout: str
    verdict: str
    parts: tuple[LogPart, ...]
    missed_most: str | None
    settings: dict[str, str]
    assumed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
