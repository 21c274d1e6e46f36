"""Licences: what their figures say against what their clauses say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.schema import LicenceEntry

_AMOUNT = re.compile(r"(\d[\d,.]*|\b(?:a|one)) (million|billion)\b")
_SCALE = {"million": 10**6, "billion": 10**9}
_MONTHLY = re.compile(r"\b(?:monthly revenue|revenue a month|a month|per month)\b")
_BESIDES = "besides"
"""What a licence's source says where the base's licence binds too."""

_MONTHLY_USERS = "monthly active users"


_CONTRADICTS = {
    "permissive": "no",
    "weak-copyleft": "no",
    "community-restricted": "no",
    "non-commercial": "yes",
    "research-only": "yes",
}
"""What a licence of a class can't say to commercial use: it would be of another class."""


def classes(facts: Facts) -> Iterator[Fault]:
    """A class that the answer to commercial use contradicts: permissive with `no`, research-only with `yes`."""
    for licence_id, entry in facts.sources.licences.licences.items():
        if _CONTRADICTS.get(entry.licence_class) == entry.commercial:
            message = f"{entry.commercial!r}, but its class is {entry.licence_class}: correct the one or the other"
            yield Fault("licences.yaml", f"$.licences.{licence_id}.commercial", message)


def clauses(facts: Facts) -> Iterator[Fault]:
    """What a licence's figures say must stand in its conditions too, under the topic they belong to; and a region the other way round."""
    for licence_id, entry in facts.sources.licences.licences.items():
        topics = {topic for condition in entry.conditions if isinstance(condition, dict) for topic in condition}
        asked: dict[str, tuple[bool, set[str]]] = {
            "commercial": (entry.commercial in {"no", "conditional"}, {"use", "users", "revenue"}),
            "user_cap": (entry.user_cap is not None, {"users"}),
            "revenue_cap_usd_per_year": (entry.revenue_cap_usd_per_year is not None, {"revenue"}),
            "excluded_regions": (bool(entry.excluded_regions), {"region"}),
            "trains_on_outputs": (entry.trains_on_outputs in {"no", "conditional"}, {"outputs"}),
        }
        for key, (stated, wanted) in asked.items():
            if stated and topics.isdisjoint(wanted):
                message = f"no condition says so: write one with the topic {' or '.join(sorted(wanted))}"
                yield Fault("licences.yaml", f"$.licences.{licence_id}.{key}", message)
        if "region" in topics and not entry.excluded_regions and entry.licence_class != "proprietary-api":
            message = "missing, though a condition with the topic region excludes some: list their codes"
            yield Fault("licences.yaml", f"$.licences.{licence_id}.excluded_regions", message)


def caps(facts: Facts) -> Iterator[Fault]:
    """A cap on users or revenue that is not the amount in its clause, or a clause whose cap is not stated."""
    for licence_id, entry in facts.sources.licences.licences.items():
        users = {amount for text in _texts(entry, "users") if _MONTHLY_USERS in text for amount in amounts(text)}
        yield from _cap(licence_id, "user_cap", entry.user_cap, users)
        yearly = {
            amount * (12 if _MONTHLY.search(text) else 1)
            for text in _texts(entry, "revenue")
            for amount in amounts(text)
        }
        yield from _cap(licence_id, "revenue_cap_usd_per_year", entry.revenue_cap_usd_per_year, yearly)


def _cap(licence_id: str, key: str, stated: int | None, written: set[int]) -> Iterator[Fault]:
    if not written or stated in written:
        return
    amounts_written = " or ".join(f"{amount:,}" for amount in sorted(written))
    figure = "missing" if stated is None else f"{stated:,}"
    message = f"{figure}, but its clause says {amounts_written}: correct the figure or the clause"
    yield Fault("licences.yaml", f"$.licences.{licence_id}.{key}", message)


def _texts(entry: LicenceEntry, topic: str) -> Iterator[str]:
    for condition in entry.conditions:
        if isinstance(condition, dict):
            yield from (text for about, text in condition.items() if about == topic)


def amounts(text: str) -> set[int]:
    """The millions and billions that a clause writes.

    >>> sorted(amounts("above 100 million users, or one billion")), amounts("above 20 million USD of revenue a month")
    ([100000000, 1000000000], {20000000})
    """
    found = ((number, _SCALE[scale]) for number, scale in _AMOUNT.findall(text))
    return {round((1 if number in {"a", "one"} else float(number.replace(",", ""))) * scale) for number, scale in found}


def of_apis(facts: Facts) -> Iterator[Fault]:
    """Closed models are used under terms of a provider, not under a licence of weights."""
    known = facts.sources.licences.licences
    for stem, api in facts.sources.apis.items():
        entry = known.get(api.licence)
        if entry is not None and entry.licence_class != "proprietary-api":
            message = f"{api.licence!r} is a licence of weights ({entry.licence_class}); closed models have one of the class proprietary-api"
            yield Fault(f"api/{stem}.yaml", "$.licence", message)


def of_bases(facts: Facts) -> Iterator[Fault]:
    """A model under a licence of another class than its base of the same family, or a freer one than a base that binds."""
    known = facts.sources.licences.licences
    for model_id, model in facts.links.open_models.items():
        base = facts.links.open_models.get(model.entry.base_model or "")
        if base is None:
            continue
        ours, theirs = model.entry.licence or model.family.licence, base.entry.licence or base.family.licence
        if ours not in known or theirs not in known or known[ours].licence_class == known[theirs].licence_class:
            continue
        source = model.entry.sources.get("licence", model.family.sources.get("licence", ""))
        freer = known[ours].licence_class == "permissive" and theirs != "unknown" and _BESIDES not in source
        if freer or model.family_id == base.family_id:
            message = (
                f"{model_id} is under {ours!r} ({known[ours].licence_class}), its base {model.entry.base_model} under {theirs!r} "
                f"({known[theirs].licence_class}): look both up, or say in sources.licence that the base's applies besides"
            )
            place = model.place(model_id, "licence" if model.entry.licence else "base_model")
            yield Fault(*place, message)


RULES = (classes, clauses, caps, of_apis, of_bases)
