"""A model's ability from all its published scores: what estimates a score that nobody published.

logit(score of model i on item j) = mean_j + loadings_j . ability_i + error_j
ability_i = what parameters, date, tuning and mode say + what its family shares + its own

An item is a benchmark in one comparable set-up; a model that can think is a sibling of itself without thoughts. A few numbers per model (the factors) explain most benchmarks. Means, loadings,
errors, the coefficients and both covariances are fitted (benchmarks/fit_capability.py) and shipped in catalog/capability/; what
a model's own scores and its siblings' say is worked out here, exactly, when the catalog is compiled: it is never out of step.
"""

from __future__ import annotations

from collections import defaultdict
from math import exp, log, log10, sqrt
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fmkit.selection import small_matrices as sm
from fmkit.selection.score_items import Area, area_of, item_of, matches, mode_of, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmkit.selection.facts import Candidate, Score, Task, TaskBenchmark

INTERVAL_Z = 1.2816
"""80 % of a normal distribution lies within this many standard deviations."""
LEAST_SHARE, MOST_SHARE = 0.01, 0.99
"""A score is held this far from 0 and 1, where its logit would be infinite."""
REPORTER_ORDER = ("independent", "vendor", "other-vendor")
MIDDLE_YEAR = 2024.5
"""Products with the date are taken from here, so that they say nothing of a model of that day."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark in one set-up, on the logit scale: `sd` is the error that abilities leave, `scores` how many it was fitted to.

    `width` is what held-out scores of this item ask of an interval, over those of all items.
    """

    area: Area
    benchmark: str
    variant: str
    mean: float
    sd: float
    scores: int
    loadings: tuple[float, ...]
    width: float = 1.0


class Prior(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of a model before any score: coefficients of (covariate - centre), by covariate and factor; covariances by factor.

    A covariate that is not known of a model, with the standard deviation `sds` among models, widens the model's own part.
    """

    centres: dict[str, float]
    sds: dict[str, float]
    coefficients: dict[str, tuple[float, ...]]
    family_covariance: tuple[tuple[float, ...], ...]
    own_covariance: tuple[tuple[float, ...], ...]


class VendorOffset(msgspec.Struct, frozen=True, kw_only=True):
    """By how much vendors report more than independent evaluators, on the logit scale; `sd` is between pairs."""

    offset: float
    sd: float
    pairs: int


class CapabilityFit(msgspec.Struct, frozen=True, kw_only=True):
    """The fitted constants. `offsets` by benchmark, "" for all others; `spreads` what intervals are multiplied by, by basis.

    The digests are of the scores that were fitted and of the constants as written; empty where the fit has none.
    """

    date: str
    scores: int
    models: int
    items: tuple[Item, ...]
    priors: dict[Area, Prior]
    offsets: dict[str, VendorOffset]
    spreads: dict[str, float]
    scores_digest: str = ""
    constants_digest: str = ""

    def item(self, area: Area, benchmark: str, variant: str) -> Item | None:
        """The item of a score, if it was fitted."""
        return next(
            (i for i in self.items if i.area == area and i.benchmark == benchmark and i.variant == variant), None
        )

    def offset(self, benchmark: str) -> VendorOffset | None:
        """What vendors report more on a benchmark; the offset over all where that one has too few pairs."""
        return self.offsets.get(benchmark, self.offsets.get(""))


NO_FIT = CapabilityFit(date="", scores=0, models=0, items=(), priors={}, offsets={}, spreads={})
"""A catalog without a fitted capability model: no score is estimated."""


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What all scores of a model and its family say of its factors; `scores` counts the items of its own."""

    area: Area
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    scores: int


class EstimatedScore(msgspec.Struct, frozen=True, kw_only=True):
    """A score that nobody published, 0 to 100, with its 80 % interval; from `scores` other scores of the model."""

    value: float
    low: float
    high: float
    scores: int

    @property
    def sd(self) -> float:
        """Half of the interval as a standard deviation, in points."""
        return (self.high - self.low) / 2 / INTERVAL_Z


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One score on the logit scale, as an independent evaluator would report it; `sd` is what the vendor's report adds."""

    item: tuple[str, str]
    value: float
    sd: float


def logit(share: float) -> float:
    """log(p / (1 - p)), with p held within 0.01 and 0.99.

    >>> round(logit(0.5), 3), round(logit(0.9), 3), round(logit(1.0), 3)
    (0.0, 2.197, 4.595)
    """
    held = min(max(share, LEAST_SHARE), MOST_SHARE)
    return log(held / (1 - held))


def from_logit(value: float) -> float:
    """The inverse of `logit`.

    >>> from_logit(0.0), round(from_logit(2.1972), 3)
    (0.5, 0.9)
    """
    return 1 / (1 + exp(-value))


def observations(
    scores: Iterable[Score], fit_offsets: Mapping[str, VendorOffset]
) -> dict[tuple[str, str], Observation]:
    """The scores of one model by item: the independent one where there is one, of several the lower median."""
    rows: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        item = item_of(score)
        if item is not None:
            rows[item].append(score)
    return {item: _observation(item, found, fit_offsets) for item, found in rows.items()}


def _observation(item: tuple[str, str], rows: list[Score], offsets: Mapping[str, VendorOffset]) -> Observation:
    chosen = next(
        found for reporter in REPORTER_ORDER if (found := [row for row in rows if row.reported_by == reporter])
    )
    chosen.sort(key=lambda row: row.score)
    middle = chosen[(len(chosen) - 1) // 2]
    value = logit(middle.score / full_marks(middle.unit))
    offset = offsets.get(item[0], offsets.get(""))
    if middle.reported_by == "independent" or offset is None:
        return Observation(item=item, value=value, sd=0.0)
    return Observation(item=item, value=value - offset.offset, sd=offset.sd)


def full_marks(unit: str) -> float:
    """What a perfect score is in a unit.

    >>> full_marks("%"), full_marks("score/10")
    (100.0, 10.0)
    """
    return {"score/10": 10.0, "score/1000": 1000.0}.get(unit, 100.0)


def covariates(candidate: Candidate, thinks: bool | None) -> dict[str, float]:
    """What is known of a model beside its scores: logarithms of parameters, training tokens and context, date, tuning, mode.

    What is not known is absent, and counts as average. Recipes of tuning, and closed models of unknown size, have a progress of
    their own (`tuned x year`, `provider api x year`).
    """
    api, tuned = float(candidate.api is not None), float(candidate.tuning not in ("base", "embedding"))
    found = {"provider api": api, "tuned": tuned, "reads images": float("image" in candidate.inputs)}
    if thinks is not None:
        found["thinks"] = float(thinks)
    if candidate.params:
        found["log10 parameters"] = log10(candidate.params)
    if candidate.params and candidate.active_params:
        found["log10 active share"] = log10(candidate.active_params / candidate.params)
    if candidate.training_tokens:
        found["log10 training tokens"] = log10(candidate.training_tokens)
    if candidate.context_tokens:
        found["log10 context"] = log10(candidate.context_tokens)
    if candidate.released:
        year = year_of(candidate.released)
        found |= {
            "year": year,
            "tuned x year": tuned * (year - MIDDLE_YEAR),
            "provider api x year": api * (year - MIDDLE_YEAR),
        }
    return found


Key = tuple[str, bool | None]
"""A model's id and mode."""


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one mode: with thoughts, without, or None where nothing says which; and its scores in that mode."""

    candidate: Candidate
    thinks: bool | None
    scores: tuple[Score, ...]

    @property
    def key(self) -> Key:
        """Its id and mode."""
        return self.candidate.id, self.thinks


def usual_mode(candidate: Candidate) -> bool | None:
    """Whether a model thinks unless it is told otherwise; None where it can, and nothing says that it does."""
    if candidate.thinks or candidate.tuning == "reasoning":
        return True
    return None if candidate.may_think else False


def answering(candidate: Candidate) -> tuple[Answering, ...]:
    """The model in its usual mode first, then in each other mode that it has scores in.

    A score whose source names no mode is of the usual one.
    """
    usual = usual_mode(candidate)
    groups: dict[bool | None, list[Score]] = {usual: []}
    for score in candidate.scores:
        groups.setdefault(mode_of(score.variant, usual), []).append(score)
    return tuple(Answering(candidate=candidate, thinks=mode, scores=tuple(found)) for mode, found in groups.items())


def year_of(date: str) -> float:
    """A date as years: day and month where they are given.

    >>> year_of("2024-07-23"), year_of("2024-07"), year_of("2024")
    (2024.54, 2024.54, 2024.5)
    """
    parts = date.split("-")
    return int(parts[0]) + (0.5 if len(parts) == 1 else round((int(parts[1]) - 0.5) / 12, 2))


def abilities(candidates: Iterable[Candidate], fit: CapabilityFit) -> dict[str, Ability]:
    """The abilities of all models in their usual mode, by id; those of an area that was not fitted are absent.

    Scores in another mode are a sibling's evidence, and count as the model's own.
    """
    modes = {candidate.id: answering(candidate) for candidate in candidates}
    found = abilities_in_modes([member for members in modes.values() for member in members], fit)
    return {
        model: replace(found[members[0].key], scores=sum(found[member.key].scores for member in members))
        for model, members in modes.items()
        if members[0].key in found
    }


def abilities_in_modes(members: Iterable[Answering], fit: CapabilityFit) -> dict[Key, Ability]:
    """The ability of every model in every mode it was tried in."""
    families: dict[tuple[Area, str], list[Answering]] = defaultdict(list)
    for member in members:
        area = area_of(member.candidate)
        if area is not None and area in fit.priors:
            families[area, member.candidate.family].append(member)
    items = {(item.area, item.benchmark, item.variant): item for item in fit.items}
    found: dict[Key, Ability] = {}
    for (area, _), kin in families.items():
        found |= _family_abilities(area, kin, fit, items)
    return found


def _family_abilities(
    area: Area, members: Sequence[Answering], fit: CapabilityFit, items: Mapping[tuple[Area, str, str], Item]
) -> dict[Key, Ability]:
    """The posterior of ability = expected + shared + own, for the members of one family at once.

    Each member tells the family's share what its scores say of it (its own part integrated out); each then hears what the
    others told. All matrices are as small as there are factors.
    """
    prior = fit.priors[area]
    own = {member.key: _own_covariance(member, prior) for member in members}
    told: dict[Key, tuple[sm.Matrix, sm.Vector]] = {}
    evidence: dict[Key, tuple[sm.Matrix, sm.Vector]] = {}
    counts: dict[Key, int] = {}
    for member in members:
        rows = [
            (items[area, *row.item], row)
            for row in observations(member.scores, fit.offsets).values()
            if (area, *row.item) in items
        ]
        counts[member.key] = len(rows)
        precision, pull = _evidence(rows, _expected(member, prior))
        evidence[member.key] = precision, pull
        if rows:
            # own part integrated out: P - P (S^-1 + P)^-1 P, and the same of the pull
            gain = sm.product(precision, sm.inverse(sm.total(sm.inverse(own[member.key]), precision)))
            told[member.key] = (
                sm.difference(precision, sm.product(gain, precision)),
                sm.difference_of_vectors(pull, sm.applied(gain, pull)),
            )
    shared_inverse = sm.inverse(prior.family_covariance)
    found = {}
    for member in members:
        precision, pull = shared_inverse, (0.0,) * len(shared_inverse)
        for other, (matrix, vector) in told.items():
            if other != member.key:
                precision, pull = sm.total(precision, matrix), sm.sum_of_vectors(pull, vector)
        shared = sm.inverse(precision)
        before = sm.inverse(sm.total(shared, own[member.key]))
        own_precision, own_pull = evidence[member.key]
        covariance = sm.inverse(sm.total(before, own_precision))
        total_pull = sm.sum_of_vectors(sm.applied(before, sm.applied(shared, pull)), own_pull)
        deviation = sm.applied(covariance, total_pull)
        found[member.key] = Ability(
            area=area,
            mean=sm.sum_of_vectors(_expected(member, prior), deviation),
            covariance=covariance,
            scores=counts[member.key],
        )
    return found


def _evidence(rows: Iterable[tuple[Item, Observation]], expected: sm.Vector) -> tuple[sm.Matrix, sm.Vector]:
    """Precision of, and pull on, the deviation from `expected`: sum of a a' / sd^2 and of a (y - mean - a.expected) / sd^2."""
    size = len(expected)
    precision = [[0.0] * size for _ in range(size)]
    pull = [0.0] * size
    for item, row in rows:
        weight = 1 / (item.sd**2 + row.sd**2)
        gap = row.value - item.mean - sm.dot(item.loadings, expected)
        for m, loading in enumerate(item.loadings):
            pull[m] += weight * loading * gap
            for n, other in enumerate(item.loadings):
                precision[m][n] += weight * loading * other
    return tuple(tuple(row) for row in precision), tuple(pull)


def _expected(member: Answering, prior: Prior) -> sm.Vector:
    total = [0.0] * len(prior.own_covariance)
    known = covariates(member.candidate, member.thinks)
    for name, coefficients in prior.coefficients.items():
        value = known.get(name)
        if value is not None:
            for n, coefficient in enumerate(coefficients):
                total[n] += coefficient * (value - prior.centres[name])
    return tuple(total)


def _own_covariance(member: Answering, prior: Prior) -> sm.Matrix:
    known = covariates(member.candidate, member.thinks)
    total = prior.own_covariance
    for name, coefficients in prior.coefficients.items():
        if name not in known:
            row = tuple(c * prior.sds[name] for c in coefficients)
            total = sm.total(total, tuple(tuple(a * b for b in row) for a in row))
    return total


def basis_of(scores: int) -> str:
    """By how many scores of its own an estimate is supported: the class its interval's width is learnt for.

    >>> basis_of(0), basis_of(3), basis_of(20)
    ('no score', '1 to 4 scores', '5 or more scores')
    """
    if scores == 0:
        return "no score"
    return "1 to 4 scores" if scores < MANY_SCORES else "5 or more scores"


MANY_SCORES = 5
BASES = ("no score", "1 to 4 scores", "5 or more scores")


def predictive(ability: Ability, item: Item) -> tuple[float, float]:
    """Mean and standard deviation of a model's score on an item, on the logit scale.

    The variance is that of the ability along the item's loadings, and the error that abilities leave.

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
    margin = INTERVAL_Z * sd * item.width * fit.spreads.get(f"{ability.area} {basis_of(ability.scores)}", 1.0)
    return EstimatedScore(
        value=round(100 * from_logit(centre), 2),
        low=round(100 * from_logit(centre - margin), 2),
        high=round(100 * from_logit(centre + margin), 2),
        scores=ability.scores,
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
