"""Each score against what the model's other scores and its family let expect, by the fitted capability model.

A score is left out of the evidence that it is held against, exactly: what it told the model's ability is taken out again.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from fmkit.catalog import convert
from fmkit.catalog.checks.fits import as_written
from fmkit.catalog.checks.scores import SHARES
from fmkit.catalog.faults import Fault
from fmkit.catalog.training import training
from fmkit.selection.abilities import abilities_in_modes
from fmkit.selection.capability import basis_of, width_of
from fmkit.selection.covariates import answering
from fmkit.selection.estimated_scores import predictive
from fmkit.selection.logits import from_logit, full_marks, logit, observations
from fmkit.selection.score_items import mode_of, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.schema import ScoreRow
    from fmkit.selection.capability import Ability, CapabilityFit, Item
    from fmkit.selection.facts import Candidate, Score
    from fmkit.selection.logits import Observation

_FARTHEST_SD = 6.0
"""No score as printed by its source is this many standard deviations from what the others say: Qwen2 72B on IFEval is 5.6."""

_SAME = 1e-9
_LARGEST_LEVERAGE = 0.95


class Expected(NamedTuple):
    """A score that is to be expected, on the logit scale, and its standard deviation as held-out scores have it."""

    logit: float
    sd: float


def estimates(facts: Facts) -> Iterator[Fault]:
    """A score far from what is to be expected: a digit lost, a fraction for a percentage, the figure of another model or mode."""
    fit = facts.sources.capability
    if not as_written(facts) or not any(facts.judged.scores.values()):
        return  # constants changed by hand say nothing of scores
    candidates = _candidates(facts)
    members = {member.key: member for each in candidates.values() for member in answering(each)}
    able = abilities_in_modes(members.values(), fit)
    told = {key: observations(member.scores, fit.offsets) for key, member in members.items()}
    usual = {model_id: answering(candidate)[0].thinks for model_id, candidate in candidates.items()}
    items = {(item.area, item.benchmark, item.variant): item for item in fit.items}
    for benchmark, rows in facts.judged.scores.items():
        for line, row in rows:
            if row.model not in candidates or row.unit not in SHARES:
                continue
            key = row.model, mode_of(row.variant, usual[row.model])
            ability = able.get(key)
            item = None if ability is None else items.get((ability.area, benchmark, set_up(row.variant)))
            if ability is None or item is None:
                continue
            value = _as_independent(row, fit, benchmark)
            expected = expected_without(value, told[key].get((benchmark, item.variant)), ability, item, fit)
            if abs(value - expected.logit) > _FARTHEST_SD * expected.sd:
                yield Fault(f"scores/{benchmark}.csv", f"line {line}, score", _far(row, item, expected))


def expected_without(
    value: float, told: Observation | None, ability: Ability, item: Item, fit: CapabilityFit
) -> Expected:
    """What is expected on an item by all that is known of a model but the score `value`, where that is what it `told`.

    With v the variance of the ability along the item, s^2 that of the score and h = v / s^2 its leverage, the mean without it is
    mean - (value - mean) h / (1 - h), and the variance of the score about that s^2 / (1 - h).
    """
    mean, sd = predictive(ability, item)
    known = ability.scores
    if told is not None and abs(told.value - value) < _SAME:
        of_score = item.sd**2 + told.sd**2
        leverage = min((sd**2 - item.sd**2) / of_score, _LARGEST_LEVERAGE)
        mean -= (value - mean) * leverage / (1 - leverage)
        sd, known = sqrt(of_score / (1 - leverage)), known - 1
    basis = basis_of(known, ability.family_scores)
    return Expected(mean, sd * width_of(fit.widths, ability.area, basis, item.name, ability.publisher))


def _as_independent(row: ScoreRow, fit: CapabilityFit, benchmark: str) -> float:
    """The score on the logit scale, less what vendors report more on the benchmark."""
    offset = None if row.reported_by == "independent" else fit.offset(benchmark)
    return _logit(row, 1) - (0.0 if offset is None else offset.offset)


def _logit(row: ScoreRow, factor: float) -> float:
    return logit(row.score * factor / full_marks(row.unit))


def _far(row: ScoreRow, item: Item, expected: Expected) -> str:
    about = from_logit(expected.logit) * full_marks(row.unit)
    message = (
        f"{row.score:g} of {row.model}, while its other scores let expect about {about:.1f} ({item.scores} models have {item.benchmark} in this "
        "set-up): look figure, model and variant up"
    )
    for factor, words in (
        (100, "was a fraction taken for a percentage?"),
        (10, "was a digit lost?"),
        (0.1, "a digit too many?"),
    ):
        near = abs(_logit(row, factor) - expected.logit) <= _FARTHEST_SD / 2 * expected.sd
        if near and row.score * factor <= full_marks(row.unit):
            return f"{message}; {words}"
    return message


def _candidates(facts: Facts) -> dict[str, Candidate]:
    """The models as selection sees them, by id."""
    sources, links = facts.sources, facts.links
    scores: dict[str, list[Score]] = {}
    for benchmark, rows in sources.scores.items():
        for _, row in rows:
            scores.setdefault(row.model, []).append(convert.score(benchmark, row))
    found: dict[str, Candidate] = {}
    for model_id, model in links.open_models.items():
        found[model_id] = convert.open_candidate(
            model_id, model.family_id, model.family, model.entry, facts.spec(model_id), None, scores.get(model_id, ()),
            training(links, model_id),
        )  # fmt: skip
    for model_id, (provider, entry) in links.api_models.items():
        of_model = scores.get(model_id, ())
        found[model_id] = convert.api_candidate(model_id, provider, sources.apis[provider], entry, of_model)
    return found


RULES = (estimates,)
