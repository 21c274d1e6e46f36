"""Why a witness has another context than the catalog: classes of difference, each with the evidence that it asks for.

That the catalog names a source is no reason: the source has to write the figure, or another witness to have it.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.proofs.differences import NOT_EXPLAINED
from fmkit.catalog.checks.arithmetic import says_number

PADDING_POSITIONS = 2
FROM_TABLE = "published table"
"""What a source says that was read in the table of catalog/published."""


class Lengths(NamedTuple):
    """What is known of one model's context: the catalog's figure with its source, and the figures of both witnesses.

    `file_of` is the repository of the configuration in use; `incomplete` one that was put together from facts, or cut short.
    `rope_original` are the positions before RoPE scaling where the file has them.
    """

    hub_id: str
    catalog_tokens: int
    source: str
    file_tokens: int | None
    file_of: str
    incomplete: bool
    rope_factor: float | None
    rope_original: int | None
    table_tokens: int | None

    @property
    def written(self) -> bool:
        """Whether the source writes the catalog's figure."""
        return says_number(self.source, self.catalog_tokens)


def why_another(held: Lengths, tokens: int, *, of_table: bool) -> str:
    """The class of the difference between `tokens` of a witness and the catalog's, with its evidence; NOT_EXPLAINED where none holds."""
    if tokens == held.catalog_tokens + PADDING_POSITIONS:
        return f"padding: {PADDING_POSITIONS} of the positions are padding's"
    published = held.written and FROM_TABLE not in held.source
    text = f"publisher's text{', recalled' if 'recalled' in held.source else ''}: {held.source}" if published else ""
    of_file = "" if of_table else _weak_file(held)
    return _scaled(held, tokens, of_table=of_table) or text or of_file or NOT_EXPLAINED


def _scaled(held: Lengths, tokens: int, *, of_table: bool) -> str:
    """RoPE scaling, by the factor in the file: of the file's positions in the table, or in the catalog."""
    limit, factor = held.file_tokens, held.rope_factor
    if limit is None or factor is None:
        return ""
    if of_table and tokens == round(limit * factor):
        return f"RoPE scaling: the table multiplies the file's {limit:,} by a factor of {factor:g}"
    original = held.rope_original or limit
    if not of_table and held.catalog_tokens == round(original * factor):
        return f"RoPE scaling: {original:,} by a factor of {factor:g}"
    return ""


def _weak_file(held: Lengths) -> str:
    """A file that is not the model's own, or not whole, against the table or a source that writes the figure."""
    if held.catalog_tokens == held.table_tokens:
        against = f"the published table has {held.table_tokens:,} of {held.hub_id}"
    elif held.written:
        against = held.source
    else:
        return ""
    if held.file_of != held.hub_id:
        return f"file of a relative: it is that of {held.file_of}; {against}"
    return (
        f"incomplete file: it was assembled from facts or cut short (INDEX.csv); {against}" if held.incomplete else ""
    )
