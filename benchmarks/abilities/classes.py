"""Held-out scores by class: by benchmark, and by the model's kind, tuning, size and publisher."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fmkit.selection.capability import item_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.abilities.cells import Table
    from benchmarks.abilities.validation import Held
    from fmkit.selection.facts import Candidate

SIZES = ((3e9, "under 3B"), (15e9, "3B to 15B"), (80e9, "15B to 80B"), (float("inf"), "over 80B"))


def places(held: Sequence[Held], found: Table) -> dict[tuple[str, str], list[int]]:
    """The places of each class's scores in `held`, by what it is a class of and its name."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(held):
        for name, of in _CLASSES.items():
            groups[name, of(found.candidates[row.model])].append(place)
        groups["benchmark", item_name(*row.item)].append(place)
    return dict(sorted(groups.items()))


def _size(candidate: Candidate) -> str:
    if candidate.params is None:
        return "not known"
    return next(name for most, name in SIZES if candidate.params < most)


_CLASSES: dict[str, Callable[[Candidate], str]] = {
    "kind": lambda c: c.spec_kind,
    "tuning": lambda c: "thinks" if c.thinks else c.tuning,
    "size": _size,
    "publisher": lambda c: c.publisher,
}
