"""Word error rates against cases worked out by hand, and against the plain distance of a textbook."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmkit.trial.checks.word_errors import rate, word_errors, words
from fmkit.trial.evidence import WordErrors


@pytest.mark.parametrize(
    ("reference", "said", "edits"),
    [
        ("a b c", "a b c", (0, 0, 0)),
        ("a b c", "a x c", (1, 0, 0)),
        ("a b c", "a c", (0, 1, 0)),
        ("a b c", "a b b c", (0, 0, 1)),
        ("a b c d", "b c d e", (0, 1, 1)),
        ("a b", "", (0, 2, 0)),
        ("the cat sat on the mat today", "the cat sit on mat today now", (1, 1, 1)),
        ("Hello, world!", "hello world", (0, 0, 0)),
        ("It's fine", "it\u2019s fine", (0, 0, 0)),
        ("well-known", "well known", (0, 0, 0)),
        ("\uff26\uff35\uff2c\uff2c width", "full width", (0, 0, 0)),
        ("'quoted' text", "quoted text", (0, 0, 0)),
    ],
)
def test_by_hand(reference: str, said: str, edits: tuple[int, int, int]) -> None:
    found = word_errors(reference, said)
    assert (found.substitutions, found.deletions, found.insertions) == edits
    assert found.words == len(words(reference))


def test_rate() -> None:
    assert rate(word_errors("the cat sat on the mat", "the cat sit on mat today")) == 0.5
    assert rate(word_errors("no", "oh no not again")) == 3.0  # more errors than words


def distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Levenshtein's recursion as it is written down, without a table."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return distance(one[1:], other[1:])
    return 1 + min(distance(one[1:], other), distance(one, other[1:]), distance(one[1:], other[1:]))


SHORT = st.lists(st.sampled_from("abc"), max_size=5)


@given(SHORT, SHORT)
def test_the_edits_are_the_fewest_and_add_up(one: list[str], other: list[str]) -> None:
    found = word_errors(" ".join(one), " ".join(other))
    assert found.substitutions + found.deletions + found.insertions == distance(tuple(one), tuple(other))
    assert found.words - found.deletions + found.insertions == len(other)


def test_sums() -> None:
    total = word_errors("a b", "a x") + word_errors("c", "c d")
    assert total == WordErrors(substitutions=1, deletions=0, insertions=1, words=3)
