"""How capable a model is at a task, from published scores: 0 to 1 among the catalog's models, with an interval.

The rule, in order:
1. A benchmark of the task counts where at least two candidates have a score in one of its comparable variants.
2. A model's score on it is the independent one where there is one, else its vendor's, else another vendor's; of several
   in that class the lower median, so that the figure is one that somebody published.
3. Scores are scaled to 0..1 between the worst and the best candidate of the benchmark, error rates turned round.
4. Where benchmarks have no candidate in common, models of one can't be compared with models of the other: only the largest
   group that hangs together is judged.
5. Benchmarks differ in who was tried on them, so x[model, benchmark] = ability + offset is fitted (weighted least squares
   with a pull of the offsets towards 0): being average among strong models counts for more than among weak ones.
6. Abilities are scaled to 0..1 over the candidates. The interval is 80 %: the scatter of the fit, widened for figures
   that a vendor reports and for the benchmarks a model lacks.
A model without any such score has no quality: it is never given an average.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.facts import Score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmkit.selection.facts import Candidate, Task, TaskBenchmark

REPORTER_ORDER = ("independent", "vendor", "other-vendor")
VENDOR_SD = 0.06
"""Standard deviation added to a figure that is not independent, on the 0..1 scale of its benchmark. An assumption: vendors
choose prompts, shots and variants; the same model differs by 3-6 points of 100 between reporters in the scores shipped."""
MISSING_SD = 0.25
"""Standard deviation of what a benchmark would say that a model was never tried on. An assumption, on the same scale."""
LEAST_SD = 0.03
"""No figure is surer than this: prompts and harness versions alone move scores by that much."""
INTERVAL_Z = 1.2816
"""80 % of a normal distribution lies within this many standard deviations."""
_OFFSET_PULL = 1.0
_FIT_ROUNDS = 60


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A model's quality at the task; `used` are the scores it rests on, `missing` the benchmarks without one."""

    value: float | None
    low: float | None
    high: float | None
    used: tuple[Score, ...]
    missing: tuple[str, ...]

    @property
    def evidence_class(self) -> str | None:
        """`independent` where every score is, `vendor` where none is, else `mixed`; None without scores."""
        if not self.used:
            return None
        independent = sum(score.reported_by == "independent" for score in self.used)
        if independent == len(self.used):
            return "independent"
        return "mixed" if independent else "vendor"


def matches(variant: str, patterns: Iterable[str]) -> bool:
    """Whether a variant is one of the comparable ones: equal, or starting as a pattern that ends in `*`.

    >>> matches("5-shot", ["5-shot"]), matches("0-shot CoT", ["0-shot*"]), matches("25-shot", ["5-shot"])
    (True, True, False)
    """
    return any(
        variant.startswith(pattern[:-1]) if pattern.endswith("*") else variant == pattern for pattern in patterns
    )


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


def judge(task: Task, candidates: Iterable[Candidate]) -> dict[str, Judgement]:
    """The quality of every candidate at the task, by id. Depends on the task and the candidates only, not on wishes."""
    pool = sorted(candidates, key=lambda candidate: candidate.id)
    used: dict[str, dict[str, Score]] = {candidate.id: {} for candidate in pool}
    for benchmark in task.benchmarks:
        rows = {c.id: score for c in pool if (score := chosen_score(c.scores, benchmark)) is not None}
        if len(rows) > 1:
            for model, score in rows.items():
                used[model][benchmark.benchmark] = score
    weights = {benchmark.benchmark: benchmark.weight for benchmark in task.benchmarks}
    comparable = _largest_group(used)
    used = {model: scores if model in comparable else {} for model, scores in used.items()}
    scaled = _scaled(task, used)
    abilities, pooled_sd = _fit(scaled, weights)
    return {c.id: _judgement(c.id, used[c.id], abilities, pooled_sd, weights) for c in pool}


def _largest_group(used: Mapping[str, Mapping[str, Score]]) -> set[str]:
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


def _scaled(task: Task, used: Mapping[str, Mapping[str, Score]]) -> dict[str, dict[str, float]]:
    """Scores by model and benchmark on 0..1, best candidate 1."""
    scaled: dict[str, dict[str, float]] = {model: {} for model, scores in used.items() if scores}
    for benchmark in task.benchmarks:
        name = benchmark.benchmark
        rows = {model: scores[name].score for model, scores in used.items() if name in scores}
        if not rows:
            continue
        low, high = min(rows.values()), max(rows.values())
        for model, score in rows.items():
            share = (score - low) / (high - low) if high > low else 0.5
            scaled[model][name] = share if benchmark.higher_is_better else 1.0 - share
    return scaled


def _fit(scaled: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Abilities by model on 0..1, and the scatter of single scores around the fit on that scale."""
    if not scaled:
        return {}, 0.0
    offsets = dict.fromkeys(weights, 0.0)
    ability: dict[str, float] = {}
    for _ in range(_FIT_ROUNDS):
        for model, row in scaled.items():
            total = sum(weights[name] for name in row)
            ability[model] = sum(weights[name] * (x - offsets[name]) for name, x in row.items()) / total
        for name in offsets:
            gaps = [row[name] - ability[model] for model, row in scaled.items() if name in row]
            offsets[name] = sum(gaps) / (len(gaps) + _OFFSET_PULL)
    low, high = min(ability.values()), max(ability.values())
    span = high - low
    gaps = [x - ability[m] - offsets[name] for m, row in scaled.items() for name, x in row.items()]
    freedom = max(len(gaps) - len(scaled), 1)
    scatter = sqrt(sum(gap * gap for gap in gaps) / freedom)
    if span <= 0:
        return dict.fromkeys(ability, 0.5), max(scatter, LEAST_SD)
    return {model: (value - low) / span for model, value in ability.items()}, max(scatter / span, LEAST_SD)


def _judgement(
    model: str,
    used: Mapping[str, Score],
    abilities: Mapping[str, float],
    pooled_sd: float,
    weights: Mapping[str, float],
) -> Judgement:
    missing = tuple(name for name in weights if name not in used)
    value = abilities.get(model)
    if value is None:
        return Judgement(value=None, low=None, high=None, used=(), missing=missing)
    known = sum(weights[name] for name in used)
    variance = sum(
        (weights[name] / known) ** 2 * (pooled_sd**2 + (0.0 if score.reported_by == "independent" else VENDOR_SD**2))
        for name, score in used.items()
    )
    missing_share = 1.0 - known / sum(weights.values())
    margin = INTERVAL_Z * sqrt(variance + (missing_share * MISSING_SD) ** 2)
    return Judgement(
        value=round(value, 4),
        low=round(max(value - margin, 0.0), 4),
        high=round(min(value + margin, 1.0), 4),
        used=tuple(used.values()),
        missing=missing,
    )
