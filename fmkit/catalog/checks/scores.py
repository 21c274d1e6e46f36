"""Scores: figures in their unit, and dates against releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.checks.dates import day_of
from fmkit.catalog.faults import Fault
from fmkit.selection.logits import full_marks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts

SHARES = frozenset({"%", "% (lower better)", "score 0-100", "score/10", "score/1000"})
"""Units of figures that are a share of full marks."""

_EARLIEST_DAYS = 200
"""Scores of previews and of a release's own table come before it, by so much at most."""


def units(facts: Facts) -> Iterator[Fault]:
    """A figure that its unit does not allow."""
    for benchmark, rows in facts.sources.scores.items():
        for line, row in rows:
            full = full_marks(row.unit)
            if row.unit in SHARES and not 0 <= row.score <= full:
                message = f"{row.score:g} is not between 0 and {full:g} (unit {row.unit})"
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, score", message)


def dates(facts: Facts) -> Iterator[Fault]:
    """A score from long before the model came out."""
    for benchmark, rows in facts.sources.scores.items():
        for line, row in rows:
            released = facts.released(row.model)
            first, scored = day_of(released), day_of(row.source_date)
            if first and scored and (first - scored).days > _EARLIEST_DAYS:
                message = f"a score of {row.source_date} for {row.model}, which was released {released}"
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, source_date", message)


RULES = (units, dates)
