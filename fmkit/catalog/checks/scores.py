"""Scores: figures in their unit, dates against releases, and variants against what the source printed."""

from __future__ import annotations

import re
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

_PRINTED = re.compile(r"as printed: (.*?)(?:; original: |; model version |; also printed elsewhere: |$)")
"""What a source printed of its set-up, as the notes quote it."""
_SHOTS = re.compile(r"(\d+(?:-\d+)?)[- ]shot")
_MAJORITY = re.compile(r"\bmaj@([2-9]|\d\d)")
_VERSION = re.compile(r"\bv(\d+(?:\.\d+)?)\b")
_WITHOUT_THOUGHTS = re.compile(r"\bnon-?\s?(?:thinking|reasoning)|\bwithout thinking|\breasoning off", re.IGNORECASE)


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


def variants(facts: Facts) -> Iterator[Fault]:
    """A variant that is not what its source printed: other shots, another version, one answer for the vote of several, thoughts for none."""
    thinking = {
        *(model_id for model_id, model in facts.links.open_models.items() if model.entry.thinks),
        *(model_id for model_id, (_, entry) in facts.links.api_models.items() if entry.thinks),
    }
    for benchmark, rows in facts.sources.scores.items():
        for line, row in rows:
            printed = as_printed(row.notes)
            if contradicts(row.variant, printed, thinks=row.model in thinking):
                message = f"{row.variant!r}, but the source printed {printed!r}: file the score under what was printed"
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, variant", message)


def as_printed(notes: str) -> str:
    """What the source printed of the set-up.

    >>> as_printed("as printed: 5-shot; macro_avg/acc; original: https://example.org/v2")
    '5-shot; macro_avg/acc'
    """
    found = _PRINTED.search(notes)
    return found[1] if found else ""


def contradicts(variant: str, printed: str, *, thinks: bool) -> bool:
    """Whether a variant says otherwise than what was printed; `thinks` where the model does unless told not to.

    >>> [contradicts(variant, "0-shot CoT", thinks=False) for variant in ("0-shot", "5-shot", "shots not stated", "direct")]
    [False, True, True, False]
    >>> contradicts("chain of thought, 8-shot", "8-shot (maj@8)", thinks=False), contradicts("v0.1", "v2", thinks=False)
    (True, True)
    >>> contradicts("v3", "v3; non-thinking", thinks=True), contradicts("thinking off, v3", "v3; non-thinking", thinks=True)
    (True, False)
    """
    shots, said = set(_SHOTS.findall(printed)), set(_SHOTS.findall(variant))
    if shots and (said or "shots not stated" in variant) and shots.isdisjoint(said):
        return True
    if _MAJORITY.search(printed) and not _MAJORITY.search(variant):
        return True
    version, named = set(_VERSION.findall(printed)), set(_VERSION.findall(variant))
    if version and named and version.isdisjoint(named):
        return True
    return bool(thinks and _WITHOUT_THOUGHTS.search(printed)) and "thinking off" not in variant


RULES = (units, dates, variants)
