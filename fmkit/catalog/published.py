"""A published table of facts of the catalog's models: catalog/published/, a witness that the catalog is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from fmkit.catalog.csv_file import read_csv

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.catalog.faults import Fault
    from fmkit.catalog.schema import ModelEntry

UNKNOWN_CONTEXT = 4096
"""What the table writes where it knows no limit."""

_SAYS_NOTHING = frozenset(("", "other", "unknown"))
_Row = TypeVar("_Row", bound=msgspec.Struct)


class PublishedRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of published/facts.csv; `licence` is the tag on the Hub."""

    hub_id: str
    params: int | None = None
    context_tokens: int | None = None
    licence: str = ""


class DoubtfulRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of published/doubtful.csv: a figure of the table that contradicts something, and what."""

    hub_id: str
    fact: str
    why: str


class TagRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of published/tags.csv: a licence of the catalog that a tag of another name can mean."""

    tag: str
    licence: str


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The table: rows by Hub id, what is wrong with single figures by Hub id and fact, licences by tag."""

    rows: dict[str, PublishedRow]
    doubtful: dict[tuple[str, str], str]
    tags: dict[str, frozenset[str]]

    def of(self, entry: ModelEntry) -> PublishedRow | None:
        """The row of a model by its Hub id, else by another one that it had; None where the table has none."""
        names = (name.casefold() for name in (entry.hub_id, *entry.aliases))
        return next((self.rows[name] for name in names if name in self.rows), None)

    def licence_tag(self, entry: ModelEntry) -> str | None:
        """The tag of a model's licence; None where it says nothing or is known to be wrong."""
        row = self.of(entry)
        if row is None or row.licence in _SAYS_NOTHING or (row.hub_id, "licence") in self.doubtful:
            return None
        return row.licence

    def context_tokens(self, entry: ModelEntry) -> int | None:
        """The context of a model; None where the table knows none or is known to be wrong."""
        row = self.of(entry)
        if row is None or row.context_tokens == UNKNOWN_CONTEXT or (row.hub_id, "context_tokens") in self.doubtful:
            return None
        return row.context_tokens


def read_published(folder: Path, faults: list[Fault]) -> Published:
    """The table in `folder`/published; an empty one where there is none."""
    tags: dict[str, frozenset[str]] = {}
    for row in _read(folder, "tags.csv", TagRow, faults):
        tags[row.tag] = tags.get(row.tag, frozenset()) | {row.licence}
    return Published(
        rows={row.hub_id.casefold(): row for row in _read(folder, "facts.csv", PublishedRow, faults)},
        doubtful={(row.hub_id, row.fact): row.why for row in _read(folder, "doubtful.csv", DoubtfulRow, faults)},
        tags=tags,
    )


def _read(folder: Path, name: str, kind: type[_Row], faults: list[Fault]) -> list[_Row]:
    path = folder / "published" / name
    return [row for _, row in read_csv(path, f"published/{name}", kind, faults)] if path.is_file() else []
