"""Word error rate of a transcript."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec

from fmkit.results.trial import Check
from fmkit.trial.checks.base import RANDOM, CheckKind, judged, not_applicable
from fmkit.trial.evidence import Evidence, WordErrors

NAME = "word-error-rate"
MOST_ERRORS = 0.25


def judge(seen: Evidence) -> Check:
    """Substitutions, deletions and insertions over the words of the reference."""
    if seen.random_weights:
        return not_applicable(NAME, RANDOM)
    found = seen.word_errors
    if found is None:
        return not_applicable(NAME, "no transcript to compare with: --transcript FILE, or `reference` in the lines")
    if found.words == 0:
        return not_applicable(NAME, "the reference has no words")
    value = rate(found)
    detail = (
        f"errors per word: {found.substitutions} other, {found.deletions} missing, {found.insertions} added, of {found.words} words "
        "(lower case, without punctuation)"
    )
    return judged(NAME, value <= MOST_ERRORS, value, MOST_ERRORS, detail, msgspec.to_builtins(found))


def rate(errors: WordErrors) -> float:
    """(S + D + I) / N; can exceed 1."""
    return (errors.substitutions + errors.deletions + errors.insertions) / errors.words


def words(text: str) -> list[str]:
    """The words of a text as they are compared: NFKC, lower case, punctuation and symbols gone, split at white space.

    An apostrophe between letters stays. Numbers are not spelt out, and scripts without spaces count as one word.

    >>> words("It\u2019s 7:30 -- the TRAIN leaves!")
    ["it's", '7', '30', 'the', 'train', 'leaves']
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    kept = [
        char if unicodedata.category(char)[0] not in "PS" or _inside_word(plain, place) else " "
        for place, char in enumerate(plain)
    ]
    return "".join(kept).split()


def _inside_word(text: str, place: int) -> bool:
    """Whether the character is an apostrophe between two letters."""
    return text[place] == "'" and text[place - 1 : place].isalpha() and text[place + 1 : place + 2].isalpha()


def word_errors(reference: str, said: str) -> WordErrors:
    """The fewest edits that turn the reference's words into those that were said (Levenshtein 1966), by kind.

    Where several ways have the fewest edits, the one with the most substitutions is taken.

    >>> word_errors("the train leaves at seven", "a train leaves at at seven")
    WordErrors(substitutions=1, deletions=0, insertions=1, words=5)
    """
    return _edits(words(reference), words(said))


def _edits(wanted: Sequence[str], said: Sequence[str]) -> WordErrors:
    # a row holds, for each prefix of `said`, (edits, substitutions, deletions, insertions) from the prefix of `wanted`
    row = [(column, 0, 0, column) for column in range(len(said) + 1)]
    for number, word in enumerate(wanted, start=1):
        above, row = row, [(number, 0, number, 0)]
        for column, other in enumerate(said, start=1):
            if word == other:
                row.append(above[column - 1])
                continue
            edits, other_words, missing, added = above[column - 1]
            substituted = (edits + 1, other_words + 1, missing, added)
            edits, other_words, missing, added = above[column]
            deleted = (edits + 1, other_words, missing + 1, added)
            edits, other_words, missing, added = row[column - 1]
            inserted = (edits + 1, other_words, missing, added + 1)
            row.append(min(substituted, deleted, inserted, key=lambda way: (way[0], -way[1])))
    _, substitutions, deletions, insertions = row[-1]
    return WordErrors(substitutions=substitutions, deletions=deletions, insertions=insertions, words=len(wanted))


CHECK = CheckKind(
    name=NAME,
    question="How many words of the transcript are wrong (word error rate)?",
    reason="0.25: twice the average of whisper-tiny.en over English test sets, 0.128",
    source="huggingface/open_asr_leaderboard@d1e99b2: scripts/data/en_shortform.csv",
    judge=judge,
    needs="a recording; --transcript FILE, or the example that ships with fmkit",
)
