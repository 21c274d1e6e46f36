"""Figures of hidden benchmarks (unseen.py): errors by number of anchors, each benchmark by itself, and the order of models without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.abilities.benchmark_facts import kind
from benchmarks.abilities.predictions import errors
from benchmarks.abilities.unseen import ANCHORS, DRAWS, Guess, Hidden, guesses, hidden, within
from fmkit.selection.capability import item_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from benchmarks.abilities.cells import ItemKey, Table


def unseen(found: Table) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Errors by number of anchors over all hidden benchmarks, and each benchmark by itself."""
    every: list[Guess] = []
    orders: dict[ItemKey, dict[str, Any]] = {}
    for one in hidden(found):
        orders[one.item] = order(one, found)
        every += guesses(one, found)
    if not every:
        return [], []
    inside = within(every)
    regimes = [
        {"area": found.area, "anchors": count, "draws": DRAWS if count else 1, "benchmarks": len(orders)}
        | _errors_where(every, inside, count, set(orders))
        for count in ANCHORS
    ]
    benchmarks = [
        {"area": found.area, "benchmark": item_name(*item), "kind": kind(item[0]), **said}
        | {f"anchors_{count}": _errors_where(every, inside, count, {item}) for count in ANCHORS}
        for item, said in orders.items()
    ]
    return regimes, benchmarks


def _errors_where(
    rows: Sequence[Guess], inside: Sequence[bool], anchors: int, items: Collection[ItemKey]
) -> dict[str, Any]:
    places = [n for n, row in enumerate(rows) if row.anchors == anchors and row.item in items]
    return errors([rows[n] for n in places], [inside[n] for n in places])


def order(one: Hidden, found: Table) -> dict[str, Any]:
    """How well what is left puts the models of a hidden benchmark in order: rank correlations, with no anchor.

    Models are ordered by their expected score on a benchmark of mean loadings; beside it by log parameters, of those models whose
    parameters are known.
    """
    usual = np.average(
        [item.loadings for item in one.fit.items], axis=0, weights=[item.scores for item in one.fit.items]
    )
    sized = [c for c in one.cells if found.candidates[c.model].params]
    return {
        "models": len(one.cells),
        "rank_correlation": spearman(
            [c.value for c in one.cells], [float(usual @ one.abilities[c.member].mean) for c in one.cells]
        ),
        "log_parameters_rank_correlation": spearman(
            [c.value for c in sized], [float(found.candidates[c.model].params or 0) for c in sized]
        ),
    }


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of ranks; equal values share the mean of their ranks."""
    return round(float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]), 3)


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = np.sort(values)
    return [(np.searchsorted(ordered, v, "left") + np.searchsorted(ordered, v, "right") - 1) / 2 for v in values]


def no_better(regimes: Sequence[dict[str, Any]]) -> list[str]:
    """In words, each regime and figure in which a peer errs no more than the model does."""
    peers = {"family": "the mean of the family", "log_parameters": "a line over log parameters"}
    return [
        f"{row['area']}, {row['anchors']} anchors: {figure} {row[figure]} points, {words} {row[f'{peer}_{figure}']}"
        for row in regimes
        for figure in ("median", "p90")
        for peer, words in peers.items()
        if row[f"{peer}_{figure}"] <= row[figure]
    ]
