"""From candidates to an order: who passes, and who can't be told apart.

A part that is not known counts as a stated low value, never as a pass; and where the machine is known, a model whose
speed there is not is listed below all whose speed is known and usable, without a rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fmkit.selection.constraints import Exclusion
from fmkit.selection.pool import Pool
from fmkit.selection.request import Request
from fmkit.selection.scoring import score, unknown_values, weights_that_count
from fmkit.selection.standing import Standing, assess

if TYPE_CHECKING:
    from collections.abc import Sequence

TIE_EPSILON = 0.02
"""Scores this close are level: two hundredths are less than any of the parts is known to."""
LEAST_OVERLAP = 0.5
"""Intervals overlap substantially where half of the shorter one lies in the other."""
LEAST_SCORED = 3
"""A ranking takes this many models with a comparable score: best and worst of two say nothing about the others."""
BELOW_KNOWN_SPEEDS = "its speed here is not known: listed below the models whose speed is, without a rank"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody in order: the ranked, then those without a comparable score, and everybody else with the reason.

    `unranked` says why there is no ranking. The excluded are sorted by constraint, near misses first.
    """

    ranked: tuple[Standing, ...]
    unscored: tuple[Standing, ...]
    excluded: tuple[Exclusion, ...]
    unranked: str | None = None

    @property
    def standings(self) -> tuple[Standing, ...]:
        """All that pass, in the order in which they are proposed."""
        return self.ranked + self.unscored

    @property
    def winner(self) -> Standing | None:
        """The first of the ranked."""
        return self.ranked[0] if self.ranked else None


def select(request: Request, pool: Pool) -> Selection:
    """Apply the constraints, score what is left, and put it in order. The same input gives the same output."""
    standings: list[Standing] = []
    excluded: list[Exclusion] = []
    for candidate in sorted(pool.candidates, key=lambda c: c.id):
        found = assess(candidate, request, pool)
        if isinstance(found, Standing):
            standings.append(found)
        else:
            excluded.append(found[0])
    return order(standings, tuple(sorted(excluded, key=_near_misses_first)), request, pool)


def order(standings: Sequence[Standing], excluded: tuple[Exclusion, ...], request: Request, pool: Pool) -> Selection:
    """Models that pass, scored against each other: the ranked with their ties, then the others."""
    unranked = pool.task.unranked or _too_few(standings, pool)
    ranked: list[Standing] = []
    if unranked is None:
        weights, unknown_as = weights_that_count(request, pool), unknown_values(s.parts for s in standings)
        scored = [_scored(standing, weights, unknown_as) for standing in standings]
        known = [s for s in scored if s.score is not None and not s.speed_unknown]
        # with nobody whose speed is known there is nobody to be listed below
        ranked = known or [s for s in scored if s.score is not None]
    names = {standing.id for standing in ranked}
    others = [_unplaced(s, known_speeds=bool(ranked)) for s in standings if s.id not in names]
    return Selection(
        ranked=_with_ties(sorted(ranked, key=_best_first), request),
        unscored=tuple(sorted(others, key=lambda s: _by_domain(s, request, pool))),
        excluded=excluded,
        unranked=unranked,
    )


def _too_few(standings: Sequence[Standing], pool: Pool) -> str | None:
    """Why there is no ranking where too few of those that pass have a comparable score; None where nobody passes."""
    scored = sum(standing.parts.quality is not None for standing in standings)
    if not standings or scored >= LEAST_SCORED:
        return None
    return (
        f"{scored} of the {len(standings)} models that pass {'has' if scored == 1 else 'have'} a comparable score for "
        f"{pool.task.id}; a ranking takes {LEAST_SCORED}"
    )


def _scored(standing: Standing, weights: dict[str, float], unknown_as: dict[str, float]) -> Standing:
    found = score(standing.parts, standing.quality, weights, unknown_as)
    if found is None:
        return standing
    reasons = standing.reasons
    if found.assumed:
        stated = ", ".join(f"{name} (counted as {value:.2f})" for name, value in found.assumed)
        reasons = (
            *reasons,
            f"not known: {stated}; that is the lower quartile of the candidates' known values, 0.25 where none is known",
        )
    return replace(
        standing, score=found.value, score_low=found.low, score_high=found.high, assumed=found.assumed, reasons=reasons
    )


def _unplaced(standing: Standing, *, known_speeds: bool) -> Standing:
    if not standing.speed_unknown or not known_speeds:
        return standing
    return replace(standing, reasons=(*standing.reasons, BELOW_KNOWN_SPEEDS))


def _best_first(standing: Standing) -> tuple[float, bool, float, str]:
    """By score; of equal ones a model that was tried goes before one that is only estimated."""
    return -(standing.score or 0.0), not standing.quality.used, -(standing.quality.value or 0.0), standing.id


def _with_ties(ranked: list[Standing], request: Request) -> tuple[Standing, ...]:
    """The ranked in groups that share a rank: from the top, a model belongs to the group of the first one it is level with.

    Every member is compared with the first of its group, so that "tied" holds both ways and a long row of small steps is not
    one tie. Within a group models trained for the domain asked for come first.
    """
    groups: list[list[Standing]] = []
    for standing in ranked:
        if groups and level(groups[-1][0], standing):
            groups[-1].append(standing)
        else:
            groups.append([standing])
    placed: list[Standing] = []
    for group in groups:
        names = tuple(member.id for member in group)
        members = [replace(member, tied=tuple(n for n in names if n != member.id)) for member in group]
        if request.domain is not None:
            members.sort(key=lambda member: member.candidate.domain != request.domain)
        placed.extend(members)
    return tuple(placed)


def tied_with(standing: Standing, others: Sequence[Standing]) -> tuple[str, ...]:
    """Those of `others` that share the model's rank (the rule is `level`'s); holds both ways."""
    return tuple(other.id for other in others if other.id in standing.tied)


def level(one: Standing, other: Standing) -> bool:
    """Whether the evidence can't tell two apart: scores within `TIE_EPSILON`, and half of the shorter interval in the other."""
    if one.score is None or other.score is None or abs(one.score - other.score) >= TIE_EPSILON:
        return False
    low, high, other_low, other_high = one.score_low, one.score_high, other.score_low, other.score_high
    if low is None or high is None or other_low is None or other_high is None:
        return False
    shared = min(high, other_high) - max(low, other_low)
    return shared >= LEAST_OVERLAP * min(high - low, other_high - other_low)


def _near_misses_first(exclusion: Exclusion) -> tuple[str, float, str]:
    far = float("inf")
    return exclusion.constraint, far if exclusion.distance is None else exclusion.distance, exclusion.model


def _by_domain(standing: Standing, request: Request, pool: Pool) -> tuple[bool, bool, int, int, str]:
    """Order without scores: known speeds first, then trained for the domain, then by training tokens, size and name."""
    candidate = standing.candidate
    domain = request.domain or pool.task.domain
    stranger = domain is not None and candidate.domain != domain
    return standing.speed_unknown, stranger, -(candidate.training_tokens or 0), -(candidate.params or 0), candidate.id
