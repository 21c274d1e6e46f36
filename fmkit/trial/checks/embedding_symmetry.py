"""Symmetry: the similarity of two texts does not depend on their order or on their neighbours in the batch."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "embedding-symmetry"
TOLERANCE = 1e-3


def judge(seen: Evidence) -> Check:
    """The largest difference between similarity(a, b) and similarity(b, a), each computed anew."""
    if seen.symmetry_difference is None:
        return not_applicable(NAME, "the model gives no text embeddings here")
    detail = "difference between similarity(a, b) and similarity(b, a)"
    return judged(NAME, seen.symmetry_difference <= TOLERANCE, seen.symmetry_difference, TOLERANCE, detail)


CHECK = CheckKind(
    name=NAME,
    question="Is a text's vector the same whatever stands beside it?",
    reason="0.001: rounding of 16-bit vectors of length 1; padding that is attended to moves them by more",
    source=OWN,
    judge=judge,
)
