"""What a model was trained on: its publisher's count, or its base's and the tokens that were added."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fmkit.catalog.links import Links, OpenModel


class Training(NamedTuple):
    """All training tokens of a model, and those of them that were added to another model's; None is unknown.

    `source` is where the total was read: two places where it is a sum.
    """

    tokens: int | None = None
    further_tokens: int | None = None
    source: str | None = None


def training(links: Links, model_id: str) -> Training:
    """The training tokens of an open model.

    Its entry's count, else its family's. Where `further_training_tokens` are stated instead, they come on top of the base's
    count: unknown where that is. A model that states nothing saw what its base of the same family did: tuning adds little.
    """
    added = 0
    first: int | None = None
    sources: list[str] = []
    seen: set[str] = set()
    current = model_id
    while current in links.open_models and current not in seen:
        seen.add(current)
        model = links.open_models[current]
        further = model.entry.further_training_tokens
        stated = model.entry.training_tokens or (model.family.training_tokens if further is None else None)
        if stated is not None:
            whose = "" if current == model_id else f"{current}: "
            sources.append(whose + _source(model, "training_tokens"))
            return Training(added + stated, first, "; ".join(sources))
        if further is not None:
            first = further if first is None else first
            added += further
            sources.append(f"{further:,} more: {_source(model, 'further_training_tokens')}")
        elif _base_family(links, model) != model.family_id:
            break
        current = model.entry.base_model or ""
    return Training(further_tokens=first)


def _source(model: OpenModel, key: str) -> str:
    return model.entry.sources.get(key) or model.family.sources.get(key, "")


def _base_family(links: Links, model: OpenModel) -> str | None:
    base = links.open_models.get(model.entry.base_model or "")
    return None if base is None else base.family_id
