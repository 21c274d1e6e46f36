"""Faults that follow from another are counted at it, not listed: one broken file must not hide behind two hundred names that lead nowhere."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from fmkit.catalog.checks.references import catalog_id
from fmkit.catalog.faults import Fault
from fmkit.units import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmkit.catalog.links import Links
    from fmkit.catalog.sources import Sources

_NAME = re.compile(r"[\w.\-/]+")
_SHOWN = 3


def without_follow_ups(faults: Iterable[Fault], sources: Sources, links: Links) -> list[Fault]:
    """The faults, with those that a broken file or a misspelt id brings about counted in one line at their root.

    A name that several places miss, and that no other fault explains, is told once, with their number.
    """
    roots = _Roots(sources, links)
    kept: list[Fault] = []
    following: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    missed: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        root = roots.of(fault)
        if not fault.names:
            kept.append(fault)
        elif root is not None:
            following[root].append(fault)
        else:
            missed[fault.message].append(fault)
    kept += [Fault(file, path, _told(found)) for (file, path), found in following.items()]
    kept += [_first_of(found) for found in missed.values()]
    return kept


def _told(faults: Sequence[Fault]) -> str:
    names = sorted({fault.names for fault in faults})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    count = number_of(len(faults), "fault")
    return f"{count} elsewhere follow from this, for they name {', '.join(names[:_SHOWN])}{more}; not listed"


def _first_of(faults: Sequence[Fault]) -> Fault:
    first = min(faults)
    if len(faults) == 1:
        return first
    places = f"{first.message} (and in {number_of(len(faults) - 1, 'more place')})"
    return msgspec.structs.replace(first, message=places)


class _Roots:
    """Where a name should have been defined: in a file that can't be read, or under an id that is misspelt."""

    def __init__(self, sources: Sources, links: Links) -> None:
        broken = sorted({fault.file for fault in sources.faults})
        self._names = {file: _names_in(sources, file) for file in broken}
        self._misspelt = {
            catalog_id(model.entry.hub_id): model.place(model_id, "hub_id")
            for model_id, model in links.open_models.items()
            if catalog_id(model.entry.hub_id) != model_id
        }

    def of(self, fault: Fault) -> tuple[str, str] | None:
        """The file and path of the root of a fault about a name; None where nothing explains it."""
        if fault.names in self._misspelt:
            return self._misspelt[fault.names]
        return next(
            ((file, "$") for file, names in self._names.items() if fault.names in names and fault.file != file), None
        )


def _names_in(sources: Sources, file: str) -> set[str]:
    """Every word of a file that could be a name, and the file's own."""
    text = sources.path(file).read_text(encoding="utf-8", errors="replace") if sources.path(file).is_file() else ""
    stem = file.rpartition("/")[2].rpartition(".")[0]
    return {stem, *(word.strip("-./") for word in _NAME.findall(text))}
