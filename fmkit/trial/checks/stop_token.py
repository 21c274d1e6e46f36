"""Stopping: a tuned model ends its answer itself; one that never does has the wrong template or the wrong end token."""

from __future__ import annotations

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, RANDOM, CheckKind, judged, may_ramble, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "stop-token"


def judge(seen: Evidence) -> Check:
    """Whether a stop token came; the value is the tokens until then, or the limit."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if seen.stopped is None or seen.tokens is None:
        return not_applicable(NAME, "nothing was generated")
    count = float(len(seen.tokens))
    if not seen.stopped and may_ramble(seen):
        return not_applicable(NAME, "a base model continues text and need not stop within the tokens asked for", count)
    detail = f"{'stopped by itself' if seen.stopped else 'ran into the limit'} after {len(seen.tokens)} tokens"
    return judged(NAME, seen.stopped, count, None, detail)


CHECK = CheckKind(
    name=NAME,
    question="Does the answer end by itself?",
    reason="a stop token within the tokens asked for (--output-tokens)",
    source=OWN,
    judge=judge,
)
