"""Hiding one sentence in texts of growing length, and asking for it. No torch.

The sentence is a number under a key, as in the single-needle task of RULER (Hsieh et al. 2024, arXiv:2404.06654); the text around it
are the passages that the embedded model was not trained on. Every place and length has a number and a key of its own, so that neither a
cache nor an answer seen before helps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fmkit.trial.evidence import Evidence, NeedlePoint
from fmkit.trial.observe.speaker import CannotAskError, Speaker

DEPTHS = (0.1, 0.5, 0.9)
ANSWER_TOKENS = 64
SHORTEST_TOKENS = 160
MOST_LENGTHS = 6
MOST_COUNTS = 8
FILLED = 0.9
"""A prompt that takes this share of its room is long enough."""
TOKENS_PER_WORD = 1.5
"""Assumed where nobody counts: English prose has fewer."""

PLACES = ("Lisbon", "Oslo", "Nairobi", "Quito", "Hanoi", "Cork", "Turin", "Perth", "Lima", "Bergen", "Graz", "Dakar")
CHAT = "Read the text below. One sentence in it gives an access code; you will be asked for it.\n\n{text}\n\n{question}"
QUESTION = "What is the access code of the {place} office? Answer with the number."
SENTENCE = "The access code of the {place} office is {number}."


def lengths_for(contexts: Sequence[int]) -> tuple[int, ...]:
    """The lengths to try, growing: those of a sweep or, for a single context, its halves down to 160 tokens, six at most.

    >>> lengths_for([4096]), lengths_for([1024, 512, 1024])
    ((160, 256, 512, 1024, 2048, 4096), (512, 1024))
    """
    if len(set(contexts)) > 1:
        return tuple(sorted(set(contexts)))
    length = contexts[0]
    found = [length]
    while len(found) < MOST_LENGTHS and found[-1] > SHORTEST_TOKENS:
        found.append(max(SHORTEST_TOKENS, found[-1] // 2))
    return tuple(reversed(found))


def look_for_needles(
    speaker: Speaker, seen: Evidence, contexts: Sequence[int], prose_path: Path, say: Callable[[str], None]
) -> None:
    """Note one answer for each length and depth; a length at which no depth is found ends the search."""
    prose = prose_path.read_text(encoding="utf-8")
    seen.needle = tuple(_points(speaker, lengths_for(contexts), split_sentences(prose), say))
    seen.needle_asked_tokens = max(contexts)


def _points(
    speaker: Speaker, lengths: Sequence[int], sentences: Sequence[str], say: Callable[[str], None]
) -> list[NeedlePoint]:
    points: list[NeedlePoint] = []
    for length in lengths:
        say(f"hiding a sentence in {length:,} tokens")
        count = _sentences_that_fit(speaker, sentences, length - ANSWER_TOKENS)
        if count is None:
            continue
        for depth in DEPTHS:
            prompt, number = hidden(sentences, count, depth, length, chat=speaker.chat)
            try:
                answer = speaker.ask(prompt, ANSWER_TOKENS).text
            except CannotAskError as error:
                answer = f"(not asked: {error})"
            points.append(
                NeedlePoint(
                    context_tokens=length,
                    prompt_tokens=speaker.count(prompt),
                    depth=depth,
                    retrieved=number in re.findall(r"\d+", answer.replace(",", "")),
                    answer=" ".join(answer.split())[:80],
                )
            )
        if not any(point.retrieved for point in points[-len(DEPTHS) :]):
            break  # a longer text is harder still
    return points


def split_sentences(prose: str) -> list[str]:
    """The sentences of a text, each on one line."""
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", " ".join(prose.split())) if sentence]


def hidden(sentences: Sequence[str], count: int, depth: float, seed: int, *, chat: bool) -> tuple[str, str]:
    """A prompt of so many sentences with the needle at `depth` of them, and the number that it asks for.

    >>> prompt, number = hidden(["It rained."], 4, 0.5, 0, chat=False)
    >>> prompt.startswith("It rained. It rained. The access code of the"), number in prompt, prompt.endswith("office is")
    (True, True, True)
    """
    chance = random.Random(f"{seed} {depth}")  # noqa: S311  no secret
    place = chance.choice(PLACES)
    number = str(chance.randrange(1_000_000, 10_000_000))
    text = [sentences[index % len(sentences)] for index in range(count)]
    text.insert(round(depth * count), SENTENCE.format(place=place, number=number))
    whole = " ".join(text)
    if chat:
        return CHAT.format(text=whole, question=QUESTION.format(place=place)), number
    return f"{whole} {SENTENCE.format(place=place, number='').removesuffix(' .')}", number


def _sentences_that_fit(speaker: Speaker, sentences: Sequence[str], room_tokens: int) -> int | None:
    """The most sentences whose prompts stay within the room, nearly; None where not even the needle does."""

    def tokens(count: int) -> int:
        prompt, _ = hidden(sentences, count, DEPTHS[0], 0, chat=speaker.chat)
        return _tokens(speaker, prompt) + 4  # another number and place may take more tokens

    bare = tokens(0)
    if bare > room_tokens:
        return None
    count, best = min(len(sentences), 16), 0
    for _ in range(MOST_COUNTS):
        used = tokens(count)
        best = max(best, count) if used <= room_tokens else best
        guess = int((room_tokens - bare) * count / max(1, used - bare))
        guess = guess if used <= room_tokens else min(guess, count - 1)
        if used <= room_tokens and used >= FILLED * room_tokens:
            break
        count = max(guess, best + 1)  # sentences differ in length: the guess may be short
    return best


def _tokens(speaker: Speaker, prompt: str) -> int:
    counted = speaker.count(prompt)
    return counted if counted is not None else round(TOKENS_PER_WORD * len(prompt.split()))
