"""Damaged headers: a few thousand on every run, the kept corpus among them; 200,000 by `python benchmarks/fuzz_headers.py`."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_headers import COUNT, SEED, corpus, run


def test_the_corpus_has_both_formats() -> None:
    assert len(corpus("safetensors")) > 20
    assert len(corpus("gguf")) > 20


@pytest.mark.parametrize(("count", "seed"), [(3_000, SEED), pytest.param(COUNT, SEED + 1, marks=pytest.mark.full)])
def test_damaged_headers_are_answered_or_refused(count: int, seed: int) -> None:
    for row in run(count, seed):
        assert row["inputs"] >= count // 3
        assert row["answer"] > 0, f"{row['parser']}: nothing got through, the seeds are broken"
        assert row["refused"] > row["answer"]
        assert row["slowest_ms"] < 1000
