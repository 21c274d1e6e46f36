"""Determinism: the same input gives the same output at temperature 0."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "deterministic"


def judge(seen: Evidence) -> Check:
    """The largest difference of two runs' numbers or, of a server, the share of the text after the first difference."""
    if seen.differing_share is not None:
        detail = "share of the output after the first difference between two answers"
        return judged(NAME, seen.differing_share == 0, seen.differing_share, 0.0, detail)
    if seen.repeat_difference is None:
        return not_applicable(NAME, "there were no two runs to compare, or no logits")
    detail = "largest difference between two runs"
    return judged(NAME, seen.repeat_difference == 0, seen.repeat_difference, 0.0, detail)


CHECK = CheckKind(
    name=NAME,
    question="Does the same input give the same output at temperature 0?",
    reason="no difference at all: the same operations in the same order give the same numbers",
    source=OWN,
    judge=judge,
)
