"""Licences: against the tags of the published table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.facts.files import published, tags, why_doubtful
from benchmarks.facts.lengths import FROM_TABLE
from benchmarks.facts.witnesses import TABLE, Case
from benchmarks.proofs.differences import NOT_EXPLAINED
from fmkit.catalog.load import load_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.records import CatalogModel

SAYS_NOTHING = frozenset(("", "other", "unknown"))


def licence_cases(model: CatalogModel) -> Iterator[Case]:
    """The model's licence beside the table's tag, where that names one."""
    tag = published(model.candidate.id).get("licence", "")
    if tag not in SAYS_NOTHING:
        yield tag_case(model, tag)


def tag_case(model: CatalogModel, tag: str) -> Case:
    """A tag is the licence's id, its alias, or a name of it in tags.csv; any other is open, whatever source the catalog names."""
    ours = model.candidate.licence
    same = tag in {ours, *load_catalog().licences[ours].aliases} or (tag, ours) in tags()
    return Case(
        model=model.candidate.id,
        fact="licence",
        witness=TABLE,
        catalog=ours,
        witnessed=tag,
        reason="" if same else why_doubtful(model, "licence") or NOT_EXPLAINED,
        taken=FROM_TABLE in model.candidate.sources.get("licence", ""),
    )
