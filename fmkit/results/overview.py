"""The answer of `fmkit` alone: schema fmkit.overview/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge
from fmkit.speed.estimate import Range


class BestModel(msgspec.Struct, frozen=True, kw_only=True):
    """The best model for one task on this machine; `model` is None, and `reason` says why, where there is none.

    Its speed is tokens written per second, of one that writes none texts read per second; of speech also seconds of work per second of sound.
    """

    task: str
    model: str | None
    precision: str | None
    peak_bytes: int | None
    decode_tokens_per_s: Range | None
    licence: str | None
    next: str
    reason: str
    texts_per_s: Range | None = None
    real_time_factor: Range | None = None


class OverviewResult(msgspec.Struct, frozen=True, kw_only=True):
    """This machine, and one model for each of the commonest tasks."""

    schema: str = "fmkit.overview/1"
    fmkit: str
    catalog: str
    age: CatalogAge
    machine: str
    usable_bytes: int
    models: tuple[BestModel, ...]
