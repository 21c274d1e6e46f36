"""Tasks: the weights of their benchmarks, and those of the parts of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts

_ROUNDING = 1e-6


def weights(facts: Facts) -> Iterator[Fault]:
    """Weights that are negative or do not add up to 1."""
    for task_id, task in facts.sources.tasks.tasks.items():
        parts = {benchmark.benchmark: benchmark.weight for benchmark in task.benchmarks}
        for key, found in (("benchmarks", parts), ("weights", task.weights)):
            listed = ", ".join(f"{name} {weight:g}" for name, weight in found.items())
            if found and abs(sum(found.values()) - 1) > _ROUNDING:
                message = f"the weights add up to {sum(found.values()):g}, expected 1 ({listed})"
                yield Fault("tasks.yaml", f"$.tasks.{task_id}.{key}", message)
            elif min(found.values(), default=0) < 0:
                yield Fault("tasks.yaml", f"$.tasks.{task_id}.{key}", f"a weight is negative ({listed})")


RULES = (weights,)
