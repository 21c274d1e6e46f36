"""The answer of `fmkit catalog changes`: schema fmkit.changes/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """A model that came out."""

    id: str
    released: str
    family: str
    kind: str


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """An API model whose price was looked up; USD per 1,000,000 tokens."""

    id: str
    price_date: str
    input_usd_per_1m: float | None
    output_usd_per_1m: float | None


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark with scores published since: how many of its scores, and of which models."""

    benchmark: str
    scores: int
    latest: str
    models: tuple[str, ...]


class Undated(msgspec.Struct, frozen=True, kw_only=True):
    """How many facts have no date, and so can't be told to be new."""

    models: int
    licences: int


class ChangesResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is dated `since` or later. Dates are those of the facts: the catalog keeps none of when an entry was written."""

    schema: str = "fmkit.changes/1"
    fmkit: str
    catalog: str
    since: str
    released: tuple[Released, ...]
    priced: tuple[Priced, ...]
    scored: tuple[Scored, ...]
    licences: tuple[str, ...]
    cloud_prices: int
    undated: Undated
    age: CatalogAge = CatalogAge()
