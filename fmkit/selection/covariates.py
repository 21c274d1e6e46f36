"""What is known of a model beside its scores, in each mode that it answers in: with thoughts and without."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.facts import Candidate, Score
from fmkit.selection.score_items import mode_of

if TYPE_CHECKING:
    from fmkit.selection.facts import ApiTerms

MIDDLE_YEAR, MIDDLE_SIZE, MIDDLE_PRICE = 2024.5, 10.0, 0.6
"""Products are taken from here (years, log10 of parameters and of USD per 1,000,000 output tokens), so that they say nothing of a model there."""

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


def covariates(candidate: Candidate, thinks: bool | None) -> dict[str, float]:
    """What is known of a model beside its scores: logarithms of parameters, training tokens, context and languages, date, tuning, mode.

    What is not known is absent, and counts as average. Size, recipes of tuning and closed models of unknown size have a progress of their
    own (the products with the year); what a provider asks stands in for the size that it does not tell. Of embedders, date and
    languages did not help to predict others.
    """
    embeds = candidate.tuning == "embedding"
    api, tuned = float(candidate.api is not None), float(candidate.tuning != "base" and not embeds)
    found = {
        "provider api": api,
        "tuned": tuned,
        "reads images": float("image" in candidate.inputs),
        "reads both ways": float(candidate.spec_kind in {"encoder", "encoder-decoder"}),
    }
    if candidate.languages and not embeds:
        found["log10 languages"] = log10(len(candidate.languages))
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
    if candidate.released and not embeds:
        year = year_of(candidate.released)
        found |= {
            "year": year,
            "tuned x year": tuned * (year - MIDDLE_YEAR),
            "provider api x year": api * (year - MIDDLE_YEAR),
        }
        if candidate.params:
            found["log10 parameters x year"] = (log10(candidate.params) - MIDDLE_SIZE) * (year - MIDDLE_YEAR)
    return found | _price(candidate.api)


def _price(api: ApiTerms | None) -> dict[str, float]:
    if api is None:
        return {"provider api x log10 price": 0.0}
    if not api.output_usd_per_1m:
        return {}
    return {"provider api x log10 price": log10(api.output_usd_per_1m) - MIDDLE_PRICE}


def year_of(date: str) -> float:
    """A date as years: the middle of its month, or of its year. The day is left out, for most releases are known by their month only.

    >>> year_of("2024-07-23"), year_of("2024-07"), year_of("2024")
    (2024.54, 2024.54, 2024.5)
    """
    parts = date.split("-")
    return int(parts[0]) + (0.5 if len(parts) == 1 else round((int(parts[1]) - 0.5) / 12, 2))
