"""Repetition: a text that goes round in circles is a sign of a wrong template, a broken cache or too coarse weights."""

from __future__ import annotations

from collections.abc import Sequence

from fmkit.results.trial import Check
from fmkit.trial.checks.base import OWN, RANDOM, CheckKind, judged, may_ramble, not_applicable
from fmkit.trial.evidence import Evidence

NAME = "no-repetition-loop"
LOOP_TOKENS = 32
LOOP_SHARE = 0.6
LEAST_TOKENS = 16


def judge(seen: Evidence) -> Check:
    """The largest share that one short cycle of tokens has of the output's end."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    if seen.tokens is None:
        return not_applicable(NAME, "nothing was generated")
    if len(seen.tokens) < LEAST_TOKENS:
        return not_applicable(NAME, f"only {len(seen.tokens)} tokens were generated")
    share = loop_share(seen.tokens)
    if may_ramble(seen):
        # greedy decoding sends base models round in circles (Holtzman et al. 2020, arXiv:1904.09751)
        return not_applicable(NAME, "a base model that always takes the likeliest token often loops", share)
    return judged(NAME, share < LOOP_SHARE, share, LOOP_SHARE, "share of the output that repeats one short cycle")


def loop_share(tokens: Sequence[int]) -> float:
    """The share of `tokens` that belongs to a cycle of at most 32 tokens running to the end, at least two rounds long.

    >>> loop_share([1, 2, 3, 7, 8, 7, 8, 7, 8]), loop_share([1, 2, 3, 4])
    (0.6666666666666666, 0.0)
    """
    best = 0
    for period in range(1, LOOP_TOKENS + 1):
        run = 0
        while run + period < len(tokens) and tokens[-1 - run] == tokens[-1 - run - period]:
            run += 1
        if run >= period:
            best = max(best, run + period)
    return best / len(tokens) if tokens else 0.0


CHECK = CheckKind(
    name=NAME,
    question="Does the text go on without turning in circles?",
    reason="less than 0.6 of the output in one cycle of at most 32 tokens: a list or a refrain has its right to a part",
    source=OWN,
    judge=judge,
)
