"""What a model's own scores and its siblings' say of its ability, exactly, under the constants of the capability model."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from fmkit.selection import small_matrices as sm
from fmkit.selection.capability import Ability
from fmkit.selection.covariates import answering, covariates
from fmkit.selection.logits import observations
from fmkit.selection.score_items import area_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmkit.selection.capability import CapabilityFit, Item, Prior
    from fmkit.selection.covariates import Answering, Key
    from fmkit.selection.facts import Candidate
    from fmkit.selection.logits import Observation
    from fmkit.selection.score_items import Area


def abilities(candidates: Iterable[Candidate], fit: CapabilityFit) -> dict[str, Ability]:
    """The abilities of all models in their usual mode, by id; those of an area that was not fitted are absent.

    Scores in another mode are a sibling's evidence.
    """
    modes = {candidate.id: answering(candidate) for candidate in candidates}
    found = abilities_in_modes([member for members in modes.values() for member in members], fit)
    return {model: found[members[0].key] for model, members in modes.items() if members[0].key in found}


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
    counts: Counter[str] = Counter()
    for member in members:
        rows = [
            (items[area, *row.item], row)
            for row in observations(member.scores, fit.offsets).values()
            if (area, *row.item) in items
        ]
        counts[member.candidate.id] += len(rows)
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
            scores=counts[member.candidate.id],
            family_scores=counts.total() - counts[member.candidate.id],
            publisher=member.candidate.publisher,
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
