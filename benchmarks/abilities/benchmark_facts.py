"""What the figures of the capability model need to know of benchmarks (benchmarks.csv): their kind, and which ask the same questions."""

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
    return _column("kind")[benchmark]


def questions(benchmark: str) -> str:
    """The name that a benchmark shares with its parts, translations and later editions: they are held out together.

    >>> questions("math-500"), questions("mteb-eng-v2-sts"), questions("mmlu-pro")
    ('math', 'mteb-eng-v2', 'mmlu-pro')
    """
    return _column("questions").get(benchmark, benchmark)


@cache
def _column(name: str) -> dict[str, str]:
    with _FILE.open(encoding="utf-8", newline="") as stream:
        return {row["benchmark"]: row[name] for row in csv.DictReader(stream)}
