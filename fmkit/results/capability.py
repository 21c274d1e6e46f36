"""How capable a model is, as every answer shows it."""

from __future__ import annotations

import msgspec


class EstimatedEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A score that nobody published: what the model's other scores say it would be, 0 to 100, with an 80 % interval.

    `basis` is the class of estimates whose held-out scores gave the interval its width: from `1 to 4 scores`, or `5 or more scores`.
    """

    benchmark: str
    score: float
    low: float
    high: float
    from_scores: int
    basis: str = ""


class TaskCapability(msgspec.Struct, frozen=True, kw_only=True):
    """Quality at a task, 0 to 1 among the catalog's models, with its 80 % interval; None where nothing comparable is known.

    `basis`: `measured` (tried on the benchmarks in `measured`), `estimated from N other scores`, `unknown`, or `not ranked`, with
    the `reason`.
    """

    task: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    basis: str
    measured: tuple[str, ...] = ()
    estimated: tuple[EstimatedEvidence, ...] = ()
    reason: str | None = None
