"""The capability model: what estimates a score that nobody published from all that were.

logit(score of model i on item j) = mean_j + loadings_j . ability_i + error_j
ability_i = what parameters, date, tuning and mode say + what its family shares + its own

An item is a benchmark in one comparable set-up (`fmkit.selection.score_items`); a model that can think is a sibling of itself without thoughts
(`fmkit.selection.covariates`). A few numbers per model (the factors) explain most benchmarks. The constants here are fitted
(benchmarks/fit_capability.py) and shipped in catalog/capability/; what a model's own scores and its siblings' say is worked out
exactly when the catalog is compiled (`fmkit.selection.abilities`): it is never out of step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from fmkit.selection.score_items import Area

INTERVAL_Z = 1.2816
"""80 % of a normal distribution lies within this many standard deviations."""

MANY_SCORES = 5
Basis = Literal["no scores", "scores of its family", "1 to 4 scores", "5 or more scores"]
BASES: tuple[Basis, ...] = get_args(Basis)


def basis_of(scores: int, family_scores: int) -> Basis:
    """What an estimate rests on, by the model's own other scores and its family's: an interval's width is learnt for each basis.

    >>> basis_of(0, 0), basis_of(0, 12), basis_of(3, 0), basis_of(20, 12)
    ('no scores', 'scores of its family', '1 to 4 scores', '5 or more scores')
    """
    if scores == 0:
        return "scores of its family" if family_scores else "no scores"
    return "1 to 4 scores" if scores < MANY_SCORES else "5 or more scores"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark in one set-up, on the logit scale: `sd` is the error that abilities leave, `scores` how many it was fitted to."""

    area: Area
    benchmark: str
    variant: str
    mean: float
    sd: float
    scores: int
    loadings: tuple[float, ...]

    @property
    def name(self) -> str:
        """Benchmark and set-up, as widths and results name them."""
        return item_name(self.benchmark, self.variant)


def item_name(benchmark: str, variant: str) -> str:
    """One name for a benchmark in one set-up.

    >>> item_name("mmlu", "5-shot"), item_name("aime-2025", "")
    ('mmlu, 5-shot', 'aime-2025')
    """
    return f"{benchmark}, {variant}" if variant else benchmark


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


class Widths(msgspec.Struct, frozen=True, kw_only=True):
    """What held-out scores ask 80 % intervals of one basis to be multiplied by: `every` one, those of an item, those of a publisher's models.

    Models of some publishers scatter more about what is expected of them. Items are by `item_name`.

    >>> Widths(every=1.2, items={"mmlu, 5-shot": 0.5}).of("mmlu, 5-shot", "Example")
    0.6
    """

    every: float = 1.0
    items: dict[str, float] = {}
    publishers: dict[str, float] = {}

    def of(self, item: str, publisher: str) -> float:
        """The width of one estimate."""
        return self.every * self.items.get(item, 1.0) * self.publishers.get(publisher, 1.0)


class CapabilityFit(msgspec.Struct, frozen=True, kw_only=True):
    """The fitted constants. `offsets` by benchmark, "" for all others; `widths` of intervals by `widths_key`.

    The digests are of the scores that were fitted and of the constants as written; empty where the fit has none.
    """

    date: str
    scores: int
    models: int
    items: tuple[Item, ...]
    priors: dict[Area, Prior]
    offsets: dict[str, VendorOffset]
    widths: dict[str, Widths] = {}
    scores_digest: str = ""
    constants_digest: str = ""

    def offset(self, benchmark: str) -> VendorOffset | None:
        """What vendors report more on a benchmark; the offset over all where that one has too few pairs."""
        return self.offsets.get(benchmark, self.offsets.get(""))


def width_of(widths: Mapping[str, Widths], area: Area, basis: Basis, item: str, publisher: str) -> float:
    """What the interval of an estimate is multiplied by; 1 on a basis that nothing was learnt for. The one rule: benchmarks/ judge it."""
    found = widths.get(widths_key(area, basis))
    return 1.0 if found is None else found.of(item, publisher)


def widths_key(area: Area, basis: Basis) -> str:
    """How the widths of an area on a basis are found.

    >>> widths_key("language", "1 to 4 scores")
    'language 1 to 4 scores'
    """
    return f"{area} {basis}"


NO_FIT = CapabilityFit(date="", scores=0, models=0, items=(), priors={}, offsets={})
"""A catalog without a fitted capability model: no score is estimated."""


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What all scores of a model and its family say of its factors, in one mode.

    `scores` counts the items of its own, in whatever mode; `family_scores` those of its family's other models. `publisher` is its own.
    """

    area: Area
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    scores: int
    family_scores: int = 0
    publisher: str = ""

    @property
    def basis(self) -> Basis:
        """What estimates of its scores rest on."""
        return basis_of(self.scores, self.family_scores)
