"""The capability model: what estimates a score that nobody published from all that were.

logit(score of model i on item j) = mean_j + loadings_j . ability_i + error_j
ability_i = what parameters, date, tuning and mode say + what its family shares + its own

An item is a benchmark in one comparable set-up (`fmkit.selection.score_items`); a model that can think is a sibling of itself without thoughts
(`fmkit.selection.covariates`). A few numbers per model (the factors) explain most benchmarks. The constants here are fitted
(benchmarks/fit_capability.py) and shipped in catalog/capability/; what a model's own scores and its siblings' say is worked out
exactly when the catalog is compiled (`fmkit.selection.abilities`): it is never out of step.
"""

from __future__ import annotations

import msgspec

from fmkit.selection.score_items import Area

INTERVAL_Z = 1.2816
"""80 % of a normal distribution lies within this many standard deviations."""


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

    `publishers` multiplies them once more, by area and publisher: models of some scatter more about what is expected of them.

    The digests are of the scores that were fitted and of the constants as written; empty where the fit has none.
    """

    date: str
    scores: int
    models: int
    items: tuple[Item, ...]
    priors: dict[Area, Prior]
    offsets: dict[str, VendorOffset]
    spreads: dict[str, float]
    publishers: dict[str, float] = {}
    scores_digest: str = ""
    constants_digest: str = ""

    def offset(self, benchmark: str) -> VendorOffset | None:
        """What vendors report more on a benchmark; the offset over all where that one has too few pairs."""
        return self.offsets.get(benchmark, self.offsets.get(""))


NO_FIT = CapabilityFit(date="", scores=0, models=0, items=(), priors={}, offsets={}, spreads={})
"""A catalog without a fitted capability model: no score is estimated."""


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What all scores of a model and its family say of its factors; `scores` counts the items of its own.

    `width` is what held-out scores of the publisher's models ask of an interval.
    """

    area: Area
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    scores: int
    width: float = 1.0
