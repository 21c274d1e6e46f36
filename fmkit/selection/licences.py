"""Licences: the one that binds a model, and whether it allows a stated use. Facts, no legal advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.selection.facts import Candidate, Licence, LicenceClass

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASS_SCORE: dict[LicenceClass, float] = {
    "permissive": 1.0,
    "weak-copyleft": 0.9,
    "community-restricted": 0.6,
    "proprietary-api": 0.4,
    "non-commercial": 0.2,
    "research-only": 0.1,
    "unknown": 0.0,
}
"""The licence part of the score: freest first. A stated preference, not a measurement; its order is also the order of
restrictiveness by which the binding licence is found."""

LICENCE_CLASSES: tuple[LicenceClass, ...] = tuple(CLASS_SCORE)


class BoundLicence(msgspec.Struct, frozen=True, kw_only=True):
    """The licences that bind a model: its own and those of the models it was made from, the most restrictive first."""

    licences: tuple[Licence, ...]
    inherited_from: dict[str, str]

    @property
    def binding(self) -> Licence:
        """The most restrictive of them."""
        return self.licences[0]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of all of them; those of a base model name it."""
        found: dict[str, None] = {}
        for licence in self.licences:
            base = self.inherited_from.get(licence.id)
            tail = f" (from its base {base}, {licence.id})" if base else ""
            found.update(dict.fromkeys(f"{condition}{tail}" for condition in licence.conditions))
        return tuple(found)


def unknown_licence(licence_id: str) -> Licence:
    """A stand-in for a licence the catalog has no record of: it allows nothing for certain."""
    return Licence(
        id=licence_id,
        name=licence_id or "unknown",
        licence_class="unknown",
        commercial="unknown",
        conditions=("the terms are not known to the catalog: read the model card",),
        verification="recalled",
        source="none",
    )


def bound_licence(
    candidate: Candidate, by_id: Mapping[str, Candidate], licences: Mapping[str, Licence]
) -> BoundLicence:
    """The licences a model stands under, following `base_model` through the catalog.

    A tag that ignores the base does not lift the base's conditions: R1-Distill-Llama is tagged MIT and stays under
    the Llama licence of its base.
    """
    found: dict[str, Licence] = {}
    inherited: dict[str, str] = {}
    seen: set[str] = set()
    current: Candidate | None = candidate
    while current is not None and current.id not in seen:
        seen.add(current.id)
        licence = licences.get(current.licence) or unknown_licence(current.licence)
        if licence.id not in found:
            found[licence.id] = licence
            if current is not candidate:
                inherited[licence.id] = current.id
        current = by_id.get(current.base_model or "")
    ordered = sorted(found.values(), key=lambda licence: (CLASS_SCORE[licence.licence_class], licence.id in inherited))
    return BoundLicence(licences=tuple(ordered), inherited_from=inherited)
