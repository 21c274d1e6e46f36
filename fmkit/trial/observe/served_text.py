"""How well a model behind a server predicts a text: the log-probabilities that the server gives of it, whichever way it does. No torch."""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from fmkit.trial.checks import held_out_text, perplexity
from fmkit.trial.checks.perplexity import bits_per_byte
from fmkit.trial.evidence import Evidence, TextScore
from fmkit.trial.items import read_text

HELD_OUT_TOKENS = 128
"""Enough to tell language from noise in a few seconds, where each token is a request of its own."""


class CannotScoreError(Exception):
    """The server gives no probabilities of a text; the message says why, and what would."""


class ScoredText(msgspec.Struct, frozen=True, kw_only=True):
    """-sum(ln p) of `tokens` tokens, each given all before it; `text` is what these tokens stand for."""

    nats: float
    tokens: int
    text: str


class TextScorer(Protocol):
    """Asks a server how likely a text is."""

    most_tokens: int
    """How much of a text is scored at most."""

    def score(self, text: str, most_tokens: int) -> ScoredText:
        """The beginning of the text, at most so many tokens, in one window; raises CannotScoreError."""


def look_at_texts(
    scorer: TextScorer,
    seen: Evidence,
    checks: Sequence[str],
    *,
    reference: Path | None,
    held_out: Path | None,
    vocabulary: int | None,
    context_tokens: int,
    say: Callable[[str], None],
) -> None:
    """Note in `seen` what the checks on texts need, or why it can't be known."""
    given = reference or held_out
    if perplexity.NAME in checks and given is not None:
        room = min(scorer.most_tokens, context_tokens)
        say(f"scoring a text, at most {room:,} tokens")
        try:
            found = scorer.score(read_text(given), room)
            seen.text_score = text_score(found, vocabulary, given.name)
        except CannotScoreError as error:
            seen.unseen[perplexity.NAME] = str(error)
    if held_out_text.NAME in checks and held_out is not None:
        _look_at_held_out(scorer, seen, held_out, vocabulary, context_tokens)


def _look_at_held_out(
    scorer: TextScorer, seen: Evidence, held_out: Path, vocabulary: int | None, context_tokens: int
) -> None:
    if vocabulary is None:
        seen.unseen[held_out_text.NAME] = "nobody says how many tokens the vocabulary has, so chance is unknown"
        return
    passage = read_text(held_out).partition("\n\n\n")[0]
    try:
        found = scorer.score(passage, min(HELD_OUT_TOKENS, context_tokens))
        score = text_score(found, vocabulary, held_out.name)
    except CannotScoreError as error:
        seen.unseen[held_out_text.NAME] = str(error)
        return
    seen.bits_per_byte, seen.uniform_bits_per_byte = bits_per_byte(score), score.uniform_bits_per_byte


def text_score(found: ScoredText, vocabulary: int | None, name: str) -> TextScore:
    """The score beside what xz and guessing would need for the same bytes; one window, so that every token has all before it.

    >>> text_score(ScoredText(nats=6.93, tokens=10, text="x" * 20), 256, "given.txt").uniform_bits_per_byte
    4.0
    """
    content = found.text.encode()
    if found.tokens < 1 or not content:
        raise CannotScoreError(f"{name} is too short to be scored")
    return TextScore(
        nats=found.nats,
        tokens=found.tokens,
        text_bytes=len(content),
        compressed_bits_per_byte=8 * len(lzma.compress(content)) / len(content),
        uniform_bits_per_byte=None if vocabulary is None else math.log2(vocabulary) * found.tokens / len(content),
        window_tokens=found.tokens + 1,
        stride_tokens=found.tokens + 1,
        text=name,
    )
