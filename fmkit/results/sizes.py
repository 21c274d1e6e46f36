"""The answer of `fmkit catalog sizes`: schema fmkit.sizes/1."""

from __future__ import annotations

import msgspec

from fmkit.selection.facts import CatalogAge


class SizeCell(msgspec.Struct, frozen=True, kw_only=True):
    """What a class's example takes at one precision: bytes, and the device (or `device:count`) that holds it; None where none does.

    `fits` is None where no machine was named.
    """

    precision: str
    layout: str
    weights_bytes: int
    peak_bytes: int
    smallest_device: str | None
    fits: bool | None


class SizeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One class: how many of the catalog's language models are in it, and the memory of its example.

    `apis` are closed models: their weights are not published, and there is nothing to size.
    """

    id: str
    name: str
    use: str
    from_params: int | None
    below_params: int | None
    models: int | None
    example: str | None
    params: int | None
    apis: tuple[str, ...]
    cells: tuple[SizeCell, ...]


class SizesResult(msgspec.Struct, frozen=True, kw_only=True):
    """Classes of size and what fits where, with one sequence of `context_tokens` in `engine`."""

    schema: str = "fmkit.sizes/1"
    fmkit: str
    catalog: str
    engine: str
    context_tokens: int
    machine: str | None
    usable_bytes: int | None
    sizes: tuple[SizeRow, ...]
    age: CatalogAge = CatalogAge()
