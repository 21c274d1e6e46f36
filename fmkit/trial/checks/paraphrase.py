"""Paraphrase: two sentences of one meaning are closer than two of different ones."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "paraphrase-closer"
MARGIN = 0.05


def judge(seen: Evidence) -> Check:
    """The similarity of the shipped paraphrase less that of the unrelated sentence."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if seen.paraphrase_similarity is None or seen.unrelated_similarity is None:
        return not_applicable(NAME, "the shipped sentences were not embedded")
    margin = seen.paraphrase_similarity - seen.unrelated_similarity
    detail = f"paraphrase {seen.paraphrase_similarity:.2f}, unrelated {seen.unrelated_similarity:.2f}"
    return judged(NAME, margin > MARGIN, margin, MARGIN, detail)


CHECK = CheckKind(
    name=NAME,
    question="Is a paraphrase closer than an unrelated sentence?",
    reason="closer by more than 0.05 of cosine, which rounding to 16 bits does not move",
    source=OWN,
    judge=judge,
)
