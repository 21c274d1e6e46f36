"""Publishers: one spelling each, over families, models that have their own, and providers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.links import OpenModel

_BETWEEN = re.compile(r"; |, | and ")
"""What stands between publishers who made a model together."""


def organisations(facts: Facts) -> Iterator[Fault]:
    """An organisation on the Hub whose models have two publishers."""
    first: dict[str, tuple[str, str]] = {}
    for model_id, model in facts.links.open_models.items():
        organisation, publisher = model.entry.hub_id.partition("/")[0], model.entry.publisher or model.family.publisher
        file, path = _place(model_id, model)
        other, where = first.setdefault(organisation, (publisher, file))
        if publisher != other:
            message = (
                f"{publisher!r} has models of {organisation} here, {other!r} in {where}: spell one publisher in one way; "
                "a model that is not of its family's publisher has a `publisher` of its own"
            )
            yield Fault(file, path, message)


def names(facts: Facts) -> Iterator[Fault]:
    """Names that differ in case, punctuation or words at the end only, those of several publishers each by itself."""
    first: dict[str, str] = {}
    for publisher, file, path in stated(facts):
        for name in _BETWEEN.split(publisher):
            for other, where in first.items():
                if other != name and alike(other, name):
                    yield Fault(file, path, f"{name!r} here, {other!r} in {where}: spell one publisher in one way")
            first.setdefault(name, file)


def alike(one: str, other: str) -> bool:
    """Whether two names are spellings of one: the same letters, or one begins with all words of the other.

    >>> alike("Z.ai", "Z AI"), alike("Cohere", "Cohere Labs"), alike("Answer.AI", "01.AI")
    (True, True, False)
    """
    ours, theirs = (re.findall(r"[a-z0-9]+", name.casefold()) for name in (one, other))
    shorter = min(len(ours), len(theirs))
    return "".join(ours) == "".join(theirs) or ours[:shorter] == theirs[:shorter]


def stated(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Every publisher that a file states, with the file and the path."""
    for family_id, family in facts.sources.families.items():
        yield family.publisher, f"families/{family_id}.yaml", "$.publisher"
    for model_id, model in facts.links.open_models.items():
        if model.entry.publisher is not None:
            yield model.entry.publisher, *_place(model_id, model)
    for stem, api in facts.sources.apis.items():
        yield api.provider, f"api/{stem}.yaml", "$.provider"


def _place(model_id: str, model: OpenModel) -> tuple[str, str]:
    """Where a model's publisher is stated: at the model, or at its family."""
    file, path = model.place(model_id, "publisher")
    return (file, path) if model.entry.publisher is not None else (file, "$.publisher")


RULES = (organisations, names)
