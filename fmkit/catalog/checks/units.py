"""Units of scores: one for each benchmark."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts


def one_of_a_benchmark(facts: Facts) -> Iterator[Fault]:
    """A figure in another unit than most figures of its benchmark."""
    for benchmark, rows in facts.sources.scores.items():
        counted = Counter(row.unit for _, row in rows)
        usual = max(counted, key=counted.__getitem__, default="")
        for line, row in rows:
            if row.unit != usual:
                message = f"{row.unit!r}, but {counted[usual]} scores of {benchmark} are in {usual!r}: another unit is another benchmark"
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, unit", message)


RULES = (one_of_a_benchmark,)
