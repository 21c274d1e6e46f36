"""Prompts of a wanted number of tokens, made of plain words: a server's tokenizer is not ours, only its count is known."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

_NOUNS = (
    "time year people way day man thing woman life child world school state family student group country problem hand part place case "
    "week company system program question work night point home water room mother area money story fact month lot right study book eye "
    "job word business issue side kind head house service friend father power hour game line end member law car city name team"
)
WORDS = _NOUNS.split()
"""Common English nouns: one token each in most vocabularies."""

TOLERANCE = 0.01
MOST_TRIES = 4


class PromptLength(msgspec.Struct, frozen=True, kw_only=True):
    """How many words make the prompt; `tokens` is what the server counted, None where it does not count."""

    words: int
    tokens: int | None


def prompt_of(words: int, seed: int) -> str:
    """So many words, in another order for each seed, so that no server finds the prompt's beginning in its cache.

    All words come before one is repeated: prompts of the same length then have nearly the same number of tokens.

    >>> len(prompt_of(200, 1).split()), prompt_of(200, 1) == prompt_of(200, 1), prompt_of(9, 1) == prompt_of(9, 2)
    (200, True, False)
    """
    order = random.Random(seed)  # noqa: S311  no secret
    taken: list[str] = []
    while len(taken) < words:
        taken += order.sample(WORDS, len(WORDS))
    return " ".join(taken[:words])


def length_for(wanted_tokens: int, short: PromptLength, count: Callable[[int], int | None]) -> PromptLength:
    """The number of words whose prompt is `wanted_tokens` long, within 1 %, by asking the server a few times.

    `short` is a prompt counted already: the template's tokens are in it, and every further count tells words from template.

    >>> length_for(1000, PromptLength(words=10, tokens=35), lambda words: 20 + round(1.5 * words))
    PromptLength(words=653, tokens=1000)
    """
    if short.tokens is None:
        return PromptLength(words=max(1, wanted_tokens), tokens=None)
    known, best = short, short
    per_word = max(
        1.0, short.tokens / short.words
    )  # too many, for the template is in it: the first guess passes no limit
    for _ in range(MOST_TRIES):
        words = max(1, known.words + round((wanted_tokens - (known.tokens or 0)) / per_word))
        if words == known.words:
            break
        found = count(words)
        if found is None:
            break
        if found != known.tokens:
            per_word = max(0.1, (found - (known.tokens or 0)) / (words - known.words))
        known = PromptLength(words=words, tokens=found)
        if best.tokens is None or abs(found - wanted_tokens) < abs(best.tokens - wanted_tokens):
            best = known
        if abs(found - wanted_tokens) <= TOLERANCE * wanted_tokens:
            break
    return best
