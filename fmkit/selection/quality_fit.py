"""Scores of different benchmarks on one scale, and the ability of each model that explains them (rules 4 and 6 of `fmkit.selection.quality`)."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.capability import VendorOffset
from fmkit.selection.estimated_scores import EstimatedScore
from fmkit.selection.facts import Score
from fmkit.selection.logits import from_logit, logit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.selection.facts import Task


VENDOR_SD = 0.06
"""Standard deviation added to a figure that is not independent, on the 0..1 scale of its benchmark, where no pairs of both were
compared. An assumption: the same model differs by 3-6 points of 100 between reporters in the scores shipped."""
LEAST_SD = 0.03
"""No figure is surer than this: prompts and harness versions alone move scores by that much."""
_OFFSET_PULL = 1.0
_FIT_ROUNDS = 60
_FIT_CLOSE_ENOUGH = 1e-6


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model on a benchmark, 0 to 1 with the best published score at 1; `sd` in the same unit.

    `points` is what lies between 0 and 1 in the benchmark's own unit.
    """

    share: float
    sd: float
    points: float
    estimated: bool


def cells_of(
    task: Task,
    used: Mapping[str, Mapping[str, Score]],
    guessed: Mapping[str, Mapping[str, EstimatedScore]],
    offsets: Mapping[str, VendorOffset],
) -> dict[str, dict[str, Cell]]:
    """Published and estimated scores by model and benchmark on 0..1, best published one 1."""
    cells: dict[str, dict[str, Cell]] = {model: {} for model in used if used[model] or guessed[model]}
    for benchmark in task.benchmarks:
        name = benchmark.benchmark
        rows = {model: _as_independent(scores[name], offsets) for model, scores in used.items() if name in scores}
        if not rows:
            continue
        low, high = min(value for value, _ in rows.values()), max(value for value, _ in rows.values())
        span = high - low
        found = {model: (value, sd, False) for model, (value, sd) in rows.items()}
        found |= {model: (e[name].value, e[name].sd, True) for model, e in guessed.items() if name in e}
        for model, (value, sd, estimated) in found.items():
            share = (value - low) / span if span > 0 else 0.5
            vendor = not estimated and used[model][name].reported_by != "independent"
            cells[model][name] = Cell(
                share=share if benchmark.higher_is_better else 1.0 - share,
                sd=VENDOR_SD if vendor and not sd else sd / span if span > 0 else 0.0,
                points=span,
                estimated=estimated,
            )
    return cells


def _as_independent(score: Score, offsets: Mapping[str, VendorOffset]) -> tuple[float, float]:
    """The score as an independent evaluator would report it, and the standard deviation that a vendor's report adds."""
    offset = offsets.get(score.benchmark, offsets.get(""))
    if score.reported_by == "independent" or offset is None or score.unit != "%":
        return score.score, 0.0
    lessened = 100 * from_logit(logit(score.score / 100) - offset.offset)
    return lessened, 100 * offset.sd * lessened / 100 * (1 - lessened / 100)


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Abilities by model on 0..1, the scatter of published scores around the fit, and the width that was scaled to 1."""

    abilities: dict[str, float]
    scatter: float
    span: float


def fit_abilities(cells: Mapping[str, Mapping[str, Cell]], weights: Mapping[str, float]) -> Fitted:
    """The abilities that explain the cells, from 0 for the worst of the models that were tried to 1 for the best."""
    if not cells:
        return Fitted(abilities={}, scatter=0.0, span=1.0)
    ability, offsets = _least_squares(cells, weights)
    published = {model: [(n, x) for n, x in row.items() if not x.estimated] for model, row in cells.items()}
    tried = [ability[model] for model, row in published.items() if row]
    low, span = min(tried), max(tried) - min(tried)
    gaps = [x.share - ability[model] - offsets[name] for model, row in published.items() for name, x in row]
    scatter = sqrt(sum(gap * gap for gap in gaps) / max(len(gaps) - len(tried), 1))
    if span <= 0:
        return Fitted(abilities=dict.fromkeys(ability, 0.5), scatter=max(scatter, LEAST_SD), span=1.0)
    return Fitted(
        abilities={model: (value - low) / span for model, value in ability.items()},
        scatter=max(scatter / span, LEAST_SD),
        span=span,
    )


def _least_squares(
    cells: Mapping[str, Mapping[str, Cell]], weights: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Ability of each model and offset of each benchmark, by turns until neither moves."""
    offsets = dict.fromkeys(weights, 0.0)
    ability: dict[str, float] = {}
    known = {model: sum(weights[name] for name in row) for model, row in cells.items()}
    by_benchmark = {name: [(model, row[name].share) for model, row in cells.items() if name in row] for name in offsets}
    for _ in range(_FIT_ROUNDS):
        before = dict(offsets)
        for model, row in cells.items():
            ability[model] = sum([weights[name] * (x.share - offsets[name]) for name, x in row.items()]) / known[model]
        for name, shares in by_benchmark.items():
            apart = sum([share - ability[model] for model, share in shares])
            offsets[name] = apart / (len(shares) + _OFFSET_PULL)
        if max(abs(offsets[name] - before[name]) for name in offsets) < _FIT_CLOSE_ENOUGH:
            break
    return ability, offsets
