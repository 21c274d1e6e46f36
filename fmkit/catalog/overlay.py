"""A user's own catalog laid over the shipped one: entries of the same id take the place of shipped ones, the rest is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from fmkit.catalog.faults import Fault
from fmkit.catalog.own_files import unread
from fmkit.catalog.schema import ConfigRow
from fmkit.catalog.sources import regular_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fmkit.catalog.schema import ApiModelEntry, ModelEntry, ScoreRow
    from fmkit.catalog.sources import Sources

T = TypeVar("T")


def overlay(shipped: Sources, own: Sources) -> tuple[Sources, tuple[str, ...]]:
    """Both as one catalog, and what of the shipped one gave way.

    Files of families, providers and hardware are named unlike shipped ones (a fault otherwise), so that no fact shared by
    a file's entries is lost. Scores give way line by line: same model, variant and reporter.
    """
    replaced = tuple(_replaced(shipped, own))
    merged = msgspec.structs.replace(
        shipped,
        own=own,
        families=_without_entries(shipped.families, "models", _ids(own.families, "models"))
        | _signed(own.families, own.folder, _ids(shipped.families, "models")),
        apis=_without_entries(shipped.apis, "models", _ids(own.apis, "models"))
        | _signed(own.apis, own.folder, _ids(shipped.apis, "models")),
        hardware=_without_entries(shipped.hardware, "devices", _ids(own.hardware, "devices")) | own.hardware,
        engines=shipped.engines | own.engines,
        licences=msgspec.structs.replace(
            shipped.licences, licences=shipped.licences.licences | own.licences.licences
        ),
        tasks=msgspec.structs.replace(shipped.tasks, tasks=shipped.tasks.tasks | own.tasks.tasks),
        precisions=msgspec.structs.replace(
            shipped.precisions,
            precisions=shipped.precisions.precisions | own.precisions.precisions,
            layouts=shipped.precisions.layouts | own.precisions.layouts,
        ),
        quality_losses=[*shipped.quality_losses, *own.quality_losses],
        configs=shipped.configs | _unlisted_configs(own) | own.configs,
        scores=_scores(shipped, own),
        cloud_prices=[*shipped.cloud_prices, *own.cloud_prices],
        faults=(*shipped.faults, *own.faults, *unread(own.folder), *_taken_names(shipped, own)),
    )  # fmt: skip
    return merged, replaced


def _ids(files: dict[str, T], key: str) -> set[str]:
    return {entry for file in files.values() for entry in getattr(file, key)}


def _without_entries(files: dict[str, T], key: str, gone: set[str]) -> dict[str, T]:
    """The files without the entries `gone`; a file that has none of them stays the same object."""
    kept: dict[str, T] = {}
    for stem, file in files.items():
        entries = getattr(file, key)
        if gone.isdisjoint(entries):
            kept[stem] = file
        else:
            rest = {entry: value for entry, value in entries.items() if entry not in gone}
            kept[stem] = msgspec.structs.replace(file, **{key: rest})  # type: ignore[type-var]
    return kept


def _signed(files: dict[str, T], folder: Path, shipped: set[str]) -> dict[str, T]:
    """The files with a note at each model that says where it comes from, and whether a shipped entry gave way."""
    signed: dict[str, T] = {}
    for stem, file in files.items():
        models: dict[str, ModelEntry | ApiModelEntry] = getattr(file, "models")  # noqa: B009 - of either kind of file
        noted = {}
        for model_id, entry in models.items():
            instead = ", in the place of the shipped entry" if model_id in shipped else ""
            note = f"Of your own catalog, {folder}{instead}."
            noted[model_id] = msgspec.structs.replace(entry, notes=(*entry.notes, note))
        signed[stem] = msgspec.structs.replace(file, models=noted)  # type: ignore[type-var]
    return signed


def _replaced(shipped: Sources, own: Sources) -> Iterator[str]:
    for noun, ours, theirs in (
        ("model", _ids(own.families, "models"), _ids(shipped.families, "models")),
        ("model", _ids(own.apis, "models"), _ids(shipped.apis, "models")),
        ("device", _ids(own.hardware, "devices"), _ids(shipped.hardware, "devices")),
        ("engine", set(own.engines), set(shipped.engines)),
        ("licence", set(own.licences.licences), set(shipped.licences.licences)),
        ("task", set(own.tasks.tasks), set(shipped.tasks.tasks)),
        ("precision", set(own.precisions.precisions), set(shipped.precisions.precisions)),
        ("layout", set(own.precisions.layouts), set(shipped.precisions.layouts)),
    ):
        yield from (f"{noun} {name}" for name in sorted(ours & theirs))


def _unlisted_configs(own: Sources) -> dict[str, ConfigRow]:
    """A line of INDEX.csv for each of the user's configurations: the file is theirs, and that is all there is to say of it."""
    return {
        path.name: ConfigRow(
            hub_id=path.stem.replace("--", "/", 1),
            file=path.name,
            confidence="verbatim",
            source=f"the user's own {path}",
            params_meta=None,
            params_published=None,
            match="unknown",
        )
        for path in regular_files(own.folder, "configs/*.json")
    }


def _scores(shipped: Sources, own: Sources) -> dict[str, list[tuple[int, ScoreRow]]]:
    merged = dict(shipped.scores)
    for benchmark, rows in own.scores.items():
        ours = {_what(row) for _, row in rows}
        kept = [(line, row) for line, row in shipped.scores.get(benchmark, ()) if _what(row) not in ours]
        merged[benchmark] = [*kept, *rows]
    return merged


def _what(row: ScoreRow) -> tuple[str, str, str]:
    return row.model, row.variant, row.reported_by


def _taken_names(shipped: Sources, own: Sources) -> Iterator[Fault]:
    for kind, ours, theirs in (
        ("families", own.families, shipped.families),
        ("api", own.apis, shipped.apis),
        ("hardware", own.hardware, shipped.hardware),
    ):
        for stem in sorted(set(ours) & set(theirs)):
            message = (
                "is the name of a shipped file; take another: entries of the same id replace shipped ones from any file"
            )
            yield Fault(f"{kind}/{stem}.yaml", "$", message)
