"""Perplexity of a given text, with a sliding window, and the bits per byte that make tokenizers comparable."""

from __future__ import annotations

import math

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.checks.held_out_text import CHANCE_SHARE
from fmkit.trial.evidence import Evidence, TextScore

NAME = "perplexity"
FEWEST_TOKENS = 16
"""A mean over fewer tokens says little of the model and much of the text: the first ones stand after nothing."""


def judge(seen: Evidence) -> Check:
    """The perplexity, against the one at which the model would need as many bits as xz, or three quarters of those of guessing."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    score = seen.text_score
    if score is None:
        return not_applicable(NAME, "no text was scored")
    if score.tokens < FEWEST_TOKENS:
        return not_applicable(
            NAME, f"{score.text} has {score.tokens} tokens to score, of {FEWEST_TOKENS} that it takes"
        )
    guessing = score.uniform_bits_per_byte
    limit_bits_per_byte = score.compressed_bits_per_byte
    if guessing is not None:
        limit_bits_per_byte = min(limit_bits_per_byte, CHANCE_SHARE * guessing)
    limit = math.exp(limit_bits_per_byte * math.log(2) * score.text_bytes / score.tokens)
    value = perplexity(score)
    detail = (
        f"{bits_per_byte(score):.3f} bits per byte, xz needs {score.compressed_bits_per_byte:.3f}, guessing "
        f"{'unknown' if guessing is None else format(guessing, '.3f')}; {score.tokens:,} tokens "
        f"of {score.text}, window {score.window_tokens:,}, stride {score.stride_tokens:,}"
    )
    data = {**msgspec.to_builtins(score), "bits_per_byte": bits_per_byte(score)}
    return judged(NAME, value < limit, value, limit, detail, data)


def perplexity(score: TextScore) -> float:
    """exp(mean negative log-likelihood of a token, in nats).

    Source: https://huggingface.co/docs/transformers/perplexity, which also gives the sliding window: each token counts once, in the
    window in which most tokens stand before it.

    >>> score = TextScore(nats=693.147, tokens=500, text_bytes=2000, compressed_bits_per_byte=3.0, uniform_bits_per_byte=3.0, window_tokens=512, stride_tokens=256, text="x")
    >>> round(perplexity(score), 3), round(bits_per_byte(score), 3)
    (4.0, 0.5)
    """
    return math.exp(min(score.nats / score.tokens, 700.0))  # beyond that a float overflows; a model this wrong fails


def bits_per_byte(score: TextScore) -> float:
    """Bits that the model needs for a byte of the text: nats / ln 2 / bytes (Gao et al. 2020, arXiv:2101.00027, section 3.1)."""
    return score.nats / math.log(2) / score.text_bytes


CHECK = CheckKind(
    name=NAME,
    question="How well does the model predict a text (--reference FILE, else --input, else one that ships with fmkit)?",
    reason="fewer bits than xz needs for the same text, and than three quarters of guessing: neither knows a language",
    source="Deletang et al. 2023, arXiv:2309.10668: language models as compressors",
    judge=judge,
    quick=False,
)
