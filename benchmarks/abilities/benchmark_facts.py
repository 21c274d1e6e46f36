"""What the figures of the capability model need to know of benchmarks (benchmarks.csv): their kind, and which ask the same questions.

`questions` names what a benchmark has in common with its parts, translations, corrections and later editions. `shares_with` lists, apart
by "; ", the other such names that a tenth or more of the questions of either are in: MATH in AGIEval, TheoremQA in MMLU-Pro (which is of
MMLU itself), MMLU in Japanese in the regional ones, and MTEB's mean in each of its groups of tasks. MathVista, which draws on 28 sets, is
taken to share with none.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("benchmarks.csv")


def kind(benchmark: str) -> str:
    """What a benchmark is of; KeyError where benchmarks.csv does not say.

    >>> kind("mmlu-pro"), kind("aime-2025")
    ('multiple choice: knowledge', 'mathematics in competitions')
    """
    return _rows()[benchmark]["kind"]


def questions(benchmark: str) -> str:
    """The name that a benchmark shares with its parts, translations and later editions.

    >>> questions("math-500"), questions("mteb-eng-v2-sts"), questions("mmlu-pro")
    ('math', 'mteb-eng similarity', 'mmlu')
    """
    row = _rows().get(benchmark)
    return benchmark if row is None else row["questions"]


def hidden_with(name: str) -> frozenset[str]:
    """The questions that are hidden with those of a name: themselves, and those that they share some with.

    >>> sorted(hidden_with("theoremqa")), sorted(hidden_with("mteb-eng retrieval"))
    (['mmlu', 'theoremqa'], ['mteb-eng', 'mteb-eng retrieval'])
    """
    return _shared().get(name, frozenset({name}))


@cache
def _shared() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in _rows().values():
        of = found.setdefault(row["questions"], {row["questions"]})
        for other in filter(None, row["shares_with"].split("; ")):
            of.add(other)
            found.setdefault(other, {other}).add(row["questions"])
    return {name: frozenset(names) for name, names in found.items()}


@cache
def _rows() -> dict[str, dict[str, str]]:
    with _FILE.open(encoding="utf-8", newline="") as stream:
        return {row["benchmark"]: row for row in csv.DictReader(stream)}
