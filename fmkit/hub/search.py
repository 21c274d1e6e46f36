"""Models found on the Hub by words and task: known publishers first, copies of other models told apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from fmkit.hub.client import HubClient
from fmkit.hub.listing import list_models
from fmkit.hub.live import Described

MOST_WORDS = 100
"""Characters of a search: the Hub looks for them in names."""

_COPIES = ("quantized", "merge", "adapter")
_MERGED = frozenset({"merge", "mergekit"})


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """What a search gave: `own` are models that somebody trained, `copies` what others made of a model without training it."""

    own: tuple[Described, ...]
    copies: tuple[Described, ...]


def search_models(client: HubClient, words: str, kinds: Iterable[str | None]) -> list[Described]:
    """The models whose name has these words, of each kind (the Hub's pipeline tag); None is any kind. One request for each."""
    found: dict[str, Described] = {}
    for kind in kinds:
        query = {
            **({"search": words[:MOST_WORDS]} if words else {}),
            **({"pipeline_tag": kind} if kind is not None else {}),
        }
        found |= {one.id: one for one in list_models(client, query, "the Hub")}
    return list(found.values())


def sort_out(found: Iterable[Described], publishers: Collection[str], known: Collection[str]) -> Sorted:
    """Those of `publishers` first, then the most downloaded; re-uploads, merges, quantised copies and adapters apart.

    `known` are ids of models that are known already: the same name at another publisher is a re-upload.
    """
    ordered = sorted(found, key=lambda one: (publisher_of(one.id) not in publishers, -(one.downloads or 0), one.id))
    owners = {name_of(hub_id): publisher_of(hub_id) for hub_id in known}
    own: list[Described] = []
    copies: list[Described] = []
    for one in ordered:
        owner = owners.setdefault(name_of(one.id), publisher_of(one.id))
        (copies if owner != publisher_of(one.id) or copy_of(one) is not None else own).append(one)
    return Sorted(own=tuple(own), copies=tuple(copies))


def copy_of(found: Described) -> str | None:
    """How it came from another model without training, by its tags: `quantized`, `merge`, `adapter`; None where they don't say so.

    >>> copy_of(Described(id="a/b", tags=["base_model:quantized:c/d"])), copy_of(Described(id="a/b", tags=["en"]))
    ('quantized', None)
    """
    if _MERGED & set(found.tags or ()):
        return "merge"
    return next((kind for kind in _COPIES if found.tags_after(f"base_model:{kind}:")), None)


def publisher_of(hub_id: str) -> str:
    """Who published it, in lower case."""
    return hub_id.partition("/")[0].casefold()


def name_of(hub_id: str) -> str:
    """Its name without the publisher, in lower case."""
    return hub_id.partition("/")[2].casefold()
