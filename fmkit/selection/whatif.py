"""What other questions would answer: which constraint, loosened, lets models in, and what changes the winner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fmkit.selection.constraints import FIXED, Exclusion
from fmkit.selection.ranking import Selection, order
from fmkit.selection.request import DEFAULT_PRECISIONS, Request, context_need, plain_weights, weights_of
from fmkit.selection.standing import Standing, assess
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from fmkit.selection.facts import Candidate, LicenceClass
    from fmkit.selection.pool import Pool

CATEGORICAL = frozenset({"licence", "use", "region", "language", "modality", "open-only", "api-only", "data-stays-here",
                         "hardware", "train-on-outputs"})  # fmt: skip
MORE_LATENCY = 0.5
CONVERSATION_TOKENS = 1024
"""A task that needs less context reads inputs of a fixed size: twice as much is another question."""


class Loosened(msgspec.Struct, frozen=True, kw_only=True):
    """A constraint which, loosened to `to`, would add models; best quality first."""

    constraint: str
    to: str
    would_add: tuple[str, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the question that changes the winner."""

    change: str
    new_winner: str


def relaxations(selection: Selection, request: Request, pool: Pool) -> tuple[Loosened, ...]:
    """Constraints that alone keep models out, with the value that lets them in.

    A model counts where it fails nothing else. For a number two values are offered: the least loosening that adds a model,
    and the one that adds the best of them.
    """
    alone: dict[str, list[tuple[Exclusion, Standing]]] = {}
    for exclusion in selection.excluded:
        if exclusion.constraint in FIXED or exclusion.passes_at is None:
            continue
        candidate = pool.by_id[exclusion.model]
        found = assess(candidate, request, pool, frozenset({exclusion.constraint}))
        if isinstance(found, Standing):
            alone.setdefault(exclusion.constraint, []).append((exclusion, found))
    loosened: list[Loosened] = []
    for constraint in sorted(alone):
        steps = _by_value if constraint in CATEGORICAL else _by_distance
        loosened.extend(steps(constraint, alone[constraint]))
    return (*loosened, *_other_precisions(selection, request, pool))


def _by_value(constraint: str, found: list[tuple[Exclusion, Standing]]) -> list[Loosened]:
    groups: dict[str, list[Standing]] = {}
    for exclusion, standing in found:
        groups.setdefault(exclusion.passes_at or "", []).append(standing)
    return [Loosened(constraint=constraint, to=to, would_add=_best_first(groups[to])) for to in sorted(groups)]


def _by_distance(constraint: str, found: list[tuple[Exclusion, Standing]]) -> list[Loosened]:
    ordered = sorted(found, key=lambda pair: (pair[0].distance or 0.0, pair[0].model))
    best_id = _best_first([standing for _, standing in found])[0]
    last_of_first = max(i for i, (e, _) in enumerate(ordered) if e.passes_at == ordered[0][0].passes_at)
    place_of_best = next(i for i, (e, _) in enumerate(ordered) if e.model == best_id)
    steps = sorted({last_of_first, max(last_of_first, place_of_best)})
    return [
        Loosened(
            constraint=constraint,
            to=ordered[step][0].passes_at or "",
            would_add=_best_first([standing for _, standing in ordered[: step + 1]]),
        )
        for step in steps
    ]


def _other_precisions(selection: Selection, request: Request, pool: Pool) -> tuple[Loosened, ...]:
    """Precisions not asked for that would let in models which are too large at those asked for."""
    blocked = [e for e in selection.excluded if e.constraint == "memory"]
    loosened = []
    for precision in DEFAULT_PRECISIONS:
        if precision in request.precisions:
            continue
        wider = replace(request, precisions=(precision,))
        added = [s for e in blocked if isinstance(s := assess(pool.by_id[e.model], wider, pool), Standing)]
        if added:
            loosened.append(Loosened(constraint="precision", to=precision, would_add=_best_first(added)))
    return tuple(loosened)


def _best_first(standings: list[Standing]) -> tuple[str, ...]:
    unscored = -1.0
    ordered = sorted(standings, key=lambda s: (-(unscored if s.quality.value is None else s.quality.value), s.id))
    return tuple(standing.id for standing in ordered)


def sensitivities(selection: Selection, request: Request, pool: Pool) -> tuple[Change, ...]:
    """Changes of the question after which another model wins.

    Constraints only tighten here, so that the new winner is found among those that pass now.
    """
    winner = selection.winner
    if winner is None:
        return ()
    survivors = tuple(standing.candidate for standing in selection.standings)
    changes = []
    for change, changed in _questions(request, pool):
        new = _winner(changed, pool, survivors)
        if new != winner.id:
            changes.append(Change(change=change, new_winner=new))
    return tuple(changes)


def _questions(request: Request, pool: Pool) -> list[tuple[str, Request]]:
    need = context_need(request, pool.task)
    weights = weights_of(request, pool.task)
    plain = plain_weights(request, pool.task)
    rest = sum(weight for part, weight in plain.items() if part != "latency")
    faster = request.weights | {"latency": rest * MORE_LATENCY / (1 - MORE_LATENCY)}
    questions: list[tuple[str, Request]] = []
    for factor in (2, 4) if need >= CONVERSATION_TOKENS else ():
        longer = replace(request, context_tokens=need * factor)
        questions.append((f"context {format_tokens(need * factor)} instead of {format_tokens(need)}", longer))
    questions.append(("half the memory", replace(request, memory_share=request.memory_share / 2)))
    if weights["latency"] < MORE_LATENCY:
        questions.append((f"weight of latency {MORE_LATENCY:g} instead of {weights['latency']:.2g}",
                          replace(request, weights=faster)))  # fmt: skip
    if not request.licences and request.licence_classes != ("permissive",):
        permissive: tuple[LicenceClass, ...] = ("permissive",)
        questions.append(("permissive licences only", replace(request, licence_classes=permissive)))
    if not request.open_only and not request.api_only:
        questions.append(("open weights only", replace(request, open_only=True)))
    return questions


def _winner(request: Request, pool: Pool, survivors: tuple[Candidate, ...]) -> str:
    """The winner among the survivors; `none` where nobody is left, `not ranked` where too few scored ones are."""
    found = [s for candidate in survivors if isinstance(s := assess(candidate, request, pool), Standing)]
    winner = order(found, (), request, pool).winner
    if winner is not None:
        return winner.id
    return "not ranked" if found else "none"
