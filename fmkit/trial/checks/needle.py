"""Needle: a sentence hidden at 10, 50 and 90 % of growing texts is found again; the longest that works is the effective context."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence, NeedlePoint
from fmkit.units import format_tokens

NAME = "needle"


def judge(seen: Evidence) -> Check:
    """The effective context, against the longest that was asked for; every single answer is in `data`."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if not seen.needle:
        return not_applicable(NAME, "nothing was hidden in a text")
    tried = max(point.context_tokens for point in seen.needle)
    longest = max(tried, seen.needle_asked_tokens)
    effective = effective_context_tokens(seen.needle)
    rows = [
        f"{format_tokens(length)}: {', '.join(f'{depth:.0%}' for depth in found) or 'none'}"
        for length, found in found_at(seen.needle).items()
    ]
    rows += ["longer ones not tried"] if tried < longest else []
    detail = f"effective context in tokens; found at depths of {'; '.join(rows)}"
    data = {"points": [msgspec.to_builtins(point) for point in seen.needle]}
    return judged(NAME, effective >= longest, float(effective), float(longest), detail, data)


def found_at(points: Sequence[NeedlePoint]) -> dict[int, list[float]]:
    """For each length, shortest first, the depths at which the needle was found."""
    lengths = sorted({point.context_tokens for point in points})
    return {
        length: sorted(point.depth for point in points if point.context_tokens == length and point.retrieved)
        for length in lengths
    }


def effective_context_tokens(points: Sequence[NeedlePoint]) -> int:
    """The longest context at which, as at every shorter one, the needle was found at every depth; 0 where it never was.

    >>> point = lambda tokens, depth, found: NeedlePoint(context_tokens=tokens, prompt_tokens=tokens, depth=depth, retrieved=found, answer="")
    >>> effective_context_tokens([point(512, 0.1, True), point(512, 0.9, True), point(1024, 0.1, True), point(1024, 0.9, False)])
    512
    """
    effective = 0
    for length in sorted({point.context_tokens for point in points}):
        if not all(point.retrieved for point in points if point.context_tokens == length):
            break
        effective = length
    return effective


CHECK = CheckKind(
    name=NAME,
    question="How far back does the model find one sentence (effective context)?",
    reason="found at 10, 50 and 90 % of the longest context asked for (--context) and of every shorter one",
    source="single-needle retrieval of a number, as in RULER (Hsieh et al. 2024, arXiv:2404.06654)",
    judge=judge,
    quick=False,
)
