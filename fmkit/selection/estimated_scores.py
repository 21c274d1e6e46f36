"""Scores that nobody published, from abilities: with the 80 % interval that held-out scores gave."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection import small_matrices as sm
from fmkit.selection.capability import INTERVAL_Z, width_of
from fmkit.selection.logits import from_logit
from fmkit.selection.score_items import matches, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmkit.selection.capability import Ability, CapabilityFit, Item
    from fmkit.selection.facts import Candidate, Task, TaskBenchmark
    from fmkit.selection.score_items import Area


class EstimatedScore(msgspec.Struct, frozen=True, kw_only=True):
    """A score that nobody published, 0 to 100, with its 80 % interval; from `scores` other scores of the model.

    `basis` is the class of estimates whose held-out scores gave the width of the interval (`fmkit.selection.capability.BASES`).
    """

    value: float
    low: float
    high: float
    scores: int
    basis: str = ""

    @property
    def sd(self) -> float:
        """Half of the interval as a standard deviation, in points."""
        return (self.high - self.low) / 2 / INTERVAL_Z


def predictive(ability: Ability, item: Item) -> tuple[float, float]:
    """Mean and standard deviation of a model's score on an item, on the logit scale.

    The variance is that of the ability along the item's loadings, and the error that abilities leave.

    >>> from fmkit.selection.capability import Ability, Item
    >>> able = Ability(area="language", mean=(1.0,), covariance=((0.09,),), scores=4)
    >>> item = Item(area="language", benchmark="b", variant="", mean=0.5, sd=0.4, scores=20, loadings=(1.0,))
    >>> predictive(able, item)
    (1.5, 0.5)
    """
    centre = item.mean + sm.dot(item.loadings, ability.mean)
    return centre, sqrt(sm.dot(item.loadings, sm.applied(ability.covariance, item.loadings)) + item.sd**2)


def estimated_score(ability: Ability, item: Item, fit: CapabilityFit) -> EstimatedScore:
    """The score a model is expected to have on an item, 0 to 100, with the 80 % interval that held-out scores gave."""
    centre, sd = predictive(ability, item)
    margin = INTERVAL_Z * sd * width_of(fit.widths, ability.area, ability.basis, item.name, ability.publisher)
    return EstimatedScore(
        value=round(100 * from_logit(centre), 2),
        low=round(100 * from_logit(centre - margin), 2),
        high=round(100 * from_logit(centre + margin), 2),
        scores=ability.scores,
        basis=ability.basis,
    )


def task_estimates(
    task: Task, candidates: Iterable[Candidate], fit: CapabilityFit, able: Mapping[str, Ability]
) -> dict[str, dict[str, EstimatedScore]]:
    """What each model with a score of its own would have on the task's benchmarks, by model and benchmark.

    A model without any score gets none: parameters and family alone are no evidence.
    """
    items = {
        (area, benchmark.benchmark): item
        for area in fit.priors
        for benchmark in task.benchmarks
        if (item := item_for(fit, area, benchmark)) is not None
    }
    found: dict[str, dict[str, EstimatedScore]] = {}
    for candidate in candidates:
        ability = able.get(candidate.id)
        if ability is None or not ability.scores:
            continue
        found[candidate.id] = {
            name: estimated_score(ability, item, fit) for (area, name), item in items.items() if area == ability.area
        }
    return found


def item_for(fit: CapabilityFit, area: Area, benchmark: TaskBenchmark) -> Item | None:
    """The item that a task's benchmark stands for: of its comparable variants the one with the most scores."""
    found = [
        item
        for item in fit.items
        if (item.area, item.benchmark) == (area, benchmark.benchmark)
        and any(matches(spelling, benchmark.variants) for spelling in spellings(item.variant))
    ]
    return max(found, key=lambda item: (item.scores, item.variant), default=None)
