"""Held-out text: a few passages that fmkit ships, to tell a working language model from noise in a second."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "held-out-text"
CHANCE_SHARE = 0.75


def judge(seen: Evidence) -> Check:
    """Bits per byte against those of guessing each token with equal chance."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if seen.bits_per_byte is None or seen.uniform_bits_per_byte is None:
        return not_applicable(NAME, "the model does not continue text")
    limit = CHANCE_SHARE * seen.uniform_bits_per_byte
    detail = f"bits per byte of unseen text; guessing evenly needs {seen.uniform_bits_per_byte:.2f}"
    return judged(NAME, seen.bits_per_byte < limit, seen.bits_per_byte, limit, detail)


CHECK = CheckKind(
    name=NAME,
    question="Does the model predict text it has not seen far better than chance?",
    reason="three quarters of the bits of guessing evenly; token frequencies alone save the embedded model's tokenizer 16 %",
    source=f"{OWN}; frequencies: fmkit/trial/embedded/model/training.json",
    judge=judge,
)
