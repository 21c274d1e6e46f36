"""How capable a model is at a task, from published scores: 0 to 1 among the catalog's models, with an interval.

The rule, in order:
1. A benchmark of the task counts where at least two candidates have a score in one of its comparable variants.
2. A model's score on it is the independent one where there is one, else its vendor's, else another vendor's; of several
   in that class the lower median, so that the figure is one that somebody published. A vendor's is lessened by what vendors
   report more than independent evaluators, where pairs of both say.
3. A model that has other scores gets an estimate for each benchmark it lacks (`fmkit.selection.estimated_scores`), with its interval.
4. Scores are scaled to 0..1 between the worst and the best published score of the benchmark, error rates turned round.
5. Where benchmarks have no candidate in common, models of one can't be compared with models of the other: only the largest
   group that hangs together is judged.
6. Benchmarks differ in who was tried on them, so x[model, benchmark] = ability + offset is fitted (weighted least squares
   with a pull of the offsets towards 0): being average among strong models counts for more than among weak ones.
7. Abilities are scaled to 0..1 over the candidates that were tried on the task; an estimate never passes the best of them.
   The interval is 80 %: the scatter of the fit, widened for figures that a vendor reports, for what is estimated, and for
   benchmarks of which nothing is known.
A model without any score has no quality: it is never given an average.
"""

from __future__ import annotations

from math import hypot, sqrt
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.capability import INTERVAL_Z, VendorOffset
from fmkit.selection.estimated_scores import EstimatedScore
from fmkit.selection.facts import Score
from fmkit.selection.logits import REPORTER_ORDER
from fmkit.selection.quality_fit import Cell, Fitted, cells_of, fit_abilities
from fmkit.selection.score_items import matches, mode_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmkit.model.quality import PointsLost
    from fmkit.selection.facts import Candidate, Task, TaskBenchmark


MISSING_SD = 0.25
"""Standard deviation of what a benchmark would say that a model was never tried on. An assumption, on the 0..1 scale of the benchmark."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A model's quality at the task; `used` are the scores it rests on, `missing` the benchmarks without one.

    `estimated` are those of the missing that its other scores tell something of, by benchmark; `points` how many points of 100
    on a benchmark are between the worst (0) and the best (1).
    """

    value: float | None
    low: float | None
    high: float | None
    used: tuple[Score, ...]
    missing: tuple[str, ...]
    estimated: dict[str, EstimatedScore] = {}
    points: float | None = None

    @property
    def basis(self) -> str:
        """`measured`, `estimated from N other scores` or `unknown`."""
        if self.value is None:
            return "unknown"
        if self.used:
            return "measured"
        scores = next(iter(self.estimated.values())).scores
        return f"estimated from {scores} other score{'s' if scores > 1 else ''}"

    def lowered(self, lost: PointsLost) -> Judgement:
        """The same for weights that lose points: what is lost counts, and how uncertain that is widens the interval."""
        if self.value is None or self.low is None or self.high is None or not self.points:
            return self
        below, above = self.value - self.low, self.high - self.value
        value = self.value - lost.median / self.points
        return msgspec.structs.replace(
            self,
            value=_held(value),
            low=_held(value - hypot(below, (lost.high - lost.median) / self.points)),
            high=_held(value + hypot(above, (lost.median - lost.low) / self.points)),
        )

    @property
    def evidence_class(self) -> str | None:
        """`independent` where every score is, `vendor` where none is, else `mixed`; None without scores."""
        if not self.used:
            return None
        independent = sum(score.reported_by == "independent" for score in self.used)
        if independent == len(self.used):
            return "independent"
        return "mixed" if independent else "vendor"


def chosen_score(scores: Iterable[Score], benchmark: TaskBenchmark) -> Score | None:
    """The one score of a model that speaks for a benchmark (rule 2 of this file)."""
    comparable = [
        score
        for score in scores
        if score.benchmark == benchmark.benchmark and matches(score.variant, benchmark.variants)
    ]
    for reporter in REPORTER_ORDER:
        rows = [score for score in comparable if score.reported_by == reporter]
        if rows:
            rows.sort(key=lambda score: (score.score, score.source_date, score.variant, score.source))
            return rows[(len(rows) - 1) // 2]
    return None


def _in_mode(candidate: Candidate, task: Task) -> Iterable[Score]:
    """The scores that count: without those of thinking, for a model that does the task without thoughts."""
    if not task.is_answered_directly(candidate):
        return candidate.scores
    return [score for score in candidate.scores if mode_of(score.variant, None) is not True]


def judge(
    task: Task,
    candidates: Iterable[Candidate],
    estimates: Mapping[str, Mapping[str, EstimatedScore]] | None = None,
    offsets: Mapping[str, VendorOffset] | None = None,
) -> dict[str, Judgement]:
    """The quality of every candidate at the task, by id. Depends on the task and the candidates only, not on wishes.

    `estimates` are scores that nobody published, by model and benchmark; `offsets` what vendors report more, by benchmark.
    """
    pool = sorted(candidates, key=lambda candidate: candidate.id)
    used: dict[str, dict[str, Score]] = {candidate.id: {} for candidate in pool}
    for benchmark in task.benchmarks:
        rows = {c.id: score for c in pool if (score := chosen_score(_in_mode(c, task), benchmark)) is not None}
        if len(rows) > 1:
            for model, score in rows.items():
                used[model][benchmark.benchmark] = score
    scored = {name for scores in used.values() for name in scores}
    guessed = {
        c.id: {b: e for b, e in (estimates or {}).get(c.id, {}).items() if b in scored and b not in used[c.id]}
        for c in pool
    }
    comparable = _largest_group({model: {**used[model], **guessed[model]} for model in used})
    used = {model: scores if model in comparable else {} for model, scores in used.items()}
    guessed = {model: found if model in comparable else {} for model, found in guessed.items()}
    cells = cells_of(task, used, guessed, offsets or {})
    weights = {benchmark.benchmark: benchmark.weight for benchmark in task.benchmarks}
    fitted = fit_abilities(cells, weights)
    return {c.id: _judgement(c.id, used[c.id], guessed[c.id], cells.get(c.id, {}), fitted, weights) for c in pool}


def _largest_group(used: Mapping[str, Mapping[str, object]]) -> set[str]:
    """The models of the largest group in which each is linked to each other through shared benchmarks.

    Of groups of equal size the one with more scores, then the one that comes first by name.
    """
    groups: list[tuple[set[str], set[str]]] = []
    for model in sorted(used):
        if not used[model]:
            continue
        models, benchmarks = {model}, set(used[model])
        apart = []
        for other_models, other_benchmarks in groups:
            if benchmarks & other_benchmarks:
                models |= other_models
                benchmarks |= other_benchmarks
            else:
                apart.append((other_models, other_benchmarks))
        groups = [*apart, (models, benchmarks)]
    ranked = sorted(groups, key=lambda group: (-len(group[0]), -sum(len(used[m]) for m in group[0]), min(group[0])))
    return ranked[0][0] if ranked else set()


def _judgement(
    model: str,
    used: Mapping[str, Score],
    guessed: Mapping[str, EstimatedScore],
    cells: Mapping[str, Cell],
    fitted: Fitted,
    weights: Mapping[str, float],
) -> Judgement:
    missing = tuple(name for name in weights if name not in used)
    value = fitted.abilities.get(model)
    if value is None:
        return Judgement(value=None, low=None, high=None, used=(), missing=missing)
    known = sum(weights[name] for name in cells)
    published = sum(
        (weights[name] / known) ** 2 * (fitted.scatter**2 + (cell.sd / fitted.span) ** 2)
        for name, cell in cells.items()
        if not cell.estimated
    )
    # what is estimated for one model rests on the same scores: errors add up, they don't cancel
    estimated = sum(weights[name] / known * cell.sd / fitted.span for name, cell in cells.items() if cell.estimated)
    missing_share = 1.0 - known / sum(weights.values())
    margin = INTERVAL_Z * sqrt(published + estimated**2 + (missing_share * MISSING_SD) ** 2)
    value = _held(value)
    return Judgement(
        value=value,
        low=_held(value - margin),
        high=_held(value + margin),
        used=tuple(used.values()),
        missing=missing,
        estimated=dict(guessed),
        points=round(sum(weights[name] * cell.points for name, cell in cells.items()) / known * fitted.span, 2),
    )


def _held(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 4)
