"""Finite logits: a NaN or an infinity is a broken file, or float16 that overflowed."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "finite-logits"


def judge(seen: Evidence) -> Check:
    """The share of finite values in the output of the counted pass."""
    if seen.finite_share is None:
        return not_applicable(NAME, "the output's numbers were not seen")
    return judged(NAME, seen.finite_share == 1.0, seen.finite_share, 1.0, "share of finite values in the output")


CHECK = CheckKind(
    name=NAME,
    question="Are all numbers in the output finite?",
    reason="all of them: one NaN spoils every token after it",
    source=OWN,
    judge=judge,
)
