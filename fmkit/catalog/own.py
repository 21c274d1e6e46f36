"""A user's own catalog, checked and compiled over the shipped one; with faults it is left out, and the faults are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.catalog.check import all_faults
from fmkit.catalog.checks.follow_ups import without_follow_ups
from fmkit.catalog.compile import compile_sources, content_hash
from fmkit.catalog.lines import with_lines
from fmkit.catalog.links import link
from fmkit.catalog.overlay import overlay
from fmkit.catalog.sources import read_sources
from fmkit.selection.facts import OwnCatalog

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.catalog.faults import Fault
    from fmkit.catalog.records import Compiled, FileStamp
    from fmkit.catalog.sources import Sources


def compile_with_own(folder: Path, own: Path, stamps: list[FileStamp]) -> Compiled:
    """The shipped catalog of `folder` with the user's `own` over it, or without it where it has faults.

    CatalogInvalidError only where the shipped catalog itself can't be compiled.
    """
    shipped = read_sources(folder)
    content = content_hash(folder, own)
    if not own.is_dir():
        absent = OwnCatalog(folder=str(own), faults=("FMKIT_CATALOG names it, but there is no such folder",))
        return msgspec.structs.replace(compile_sources(shipped, stamps, content), own=absent)
    ours = read_sources(own, dated=False)
    merged, replaced = overlay(shipped, ours)
    faults = _faults_of(merged, shipped)
    if faults:
        left_out = OwnCatalog(folder=str(own), faults=tuple(map(str, faults)))
        return msgspec.structs.replace(compile_sources(shipped, stamps, content), own=left_out)
    open_models = [model_id for family in ours.families.values() for model_id in family.models]
    api_models = [model_id for api in ours.apis.values() for model_id in api.models]
    used = OwnCatalog(folder=str(own), models=(*open_models, *api_models), replaced=replaced)
    return msgspec.structs.replace(compile_sources(merged, stamps, content), own=used)


def _faults_of(merged: Sources, shipped: Sources) -> list[Fault]:
    """The faults that come with the user's catalog, by the same rules as the shipped one's.

    Rules that compare with what others published judge the user's own entries only.
    """
    theirs = set(all_faults(merged)) - set(all_faults(shipped, compared=False))
    return with_lines(without_follow_ups(theirs, merged, link(merged)), merged)
