"""The catalog at run time: one compiled file, found or made, decoded part by part.

An installed wheel brings the file; a checkout compiles its `catalog/` into the user's cache when a file changed.
Neither PyYAML nor csv is imported unless something has to be compiled.
"""

from __future__ import annotations

import contextlib
import os
import warnings
import zlib
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

import fmkit
from fmkit.catalog.faults import listed
from fmkit.catalog.paths import (
    COMPILED_NAME,
    compiled_file,
    own_folder,
    own_names,
    packaged_folder,
    reader_names,
    source_folder,
    source_names,
)
from fmkit.catalog.records import (
    CHECKSUM_BYTES,
    FORMAT,
    CatalogModel,
    Compiled,
    FileStamp,
    Head,
    StoredModel,
)
from fmkit.catalog.schema import EngineFile
from fmkit.errors import CatalogInvalidError, OwnCatalogWarning, UsageError
from fmkit.machine import Device
from fmkit.model.precision import Layout, Precision
from fmkit.model.quality import QualityLoss
from fmkit.selection.capability import Ability, CapabilityFit
from fmkit.selection.facts import Candidate, CatalogAge, CloudPrice, Licence, OwnCatalog, SizeClass, Task
from fmkit.speed.efficiency import SpeedFit
from fmkit.whole_files import write_whole

T = TypeVar("T")


class Catalog:
    """The curated facts. Nothing is decoded before it is asked for; what was decoded is kept."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._models: dict[str, CatalogModel] = {}

    @property
    def date(self) -> str:
        """The day the catalog was last looked over, YYYY-MM-DD."""
        return self._compiled.date

    @property
    def age(self) -> CatalogAge:
        """The dates of its newest models and score."""
        return self._compiled.age

    @property
    def own(self) -> OwnCatalog | None:
        """What became of the user's own catalog; None where there is none."""
        return self._compiled.own

    @cached_property
    def devices(self) -> dict[str, Device]:
        """Accelerators and CPU classes by id."""
        return _decode(self._compiled.devices, dict[str, Device])

    @property
    def device_aliases(self) -> dict[str, str]:
        """Device id by alias, lower case."""
        return self._compiled.device_aliases

    @cached_property
    def licences(self) -> dict[str, Licence]:
        """Licences by id."""
        return _decode(self._compiled.licences, dict[str, Licence])

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Tasks by id."""
        return _decode(self._compiled.tasks, dict[str, Task])

    @cached_property
    def engines(self) -> dict[str, EngineFile]:
        """Engines by id."""
        return _decode(self._compiled.engines, dict[str, EngineFile])

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """Weight layouts by id."""
        return _decode(self._compiled.layouts, dict[str, Layout])

    @cached_property
    def precisions(self) -> dict[str, Precision]:
        """Precisions by id."""
        return _decode(self._compiled.precisions, dict[str, Precision])

    @cached_property
    def sizes(self) -> dict[str, SizeClass]:
        """Classes of size by id, the smallest first."""
        return _decode(self._compiled.sizes, dict[str, SizeClass])

    @cached_property
    def quality_losses(self) -> tuple[QualityLoss, ...]:
        """What quantised weights were measured to lose."""
        return _decode(self._compiled.quality_losses, tuple[QualityLoss, ...])

    @cached_property
    def cloud_prices(self) -> tuple[CloudPrice, ...]:
        """What clouds ask for the catalog's devices."""
        return _decode(self._compiled.cloud_prices, tuple[CloudPrice, ...])

    @cached_property
    def speed(self) -> SpeedFit:
        """What hardware was measured to reach, fitted."""
        return _decode(self._compiled.speed, SpeedFit)

    @cached_property
    def capability(self) -> CapabilityFit:
        """How benchmarks hang together, fitted."""
        return _decode(self._compiled.capability, CapabilityFit)

    @cached_property
    def abilities(self) -> dict[str, Ability]:
        """What all scores say of each model, by id; models of kinds that were not fitted are absent."""
        return _decode(self._compiled.abilities, dict[str, Ability])

    def model_ids(self) -> tuple[str, ...]:
        """All catalog ids, open-weight models first, in the order of the files."""
        return tuple(self._compiled.models)

    def names(self) -> tuple[str, ...]:
        """Every name a model answers to, lower case: ids, aliases, Hub ids."""
        return tuple(self._compiled.names)

    def resolve(self, name: str) -> str | None:
        """The catalog id of an id, an alias or a Hub id, whatever its case, spaces for hyphens; None if there is none."""
        return self._compiled.names.get("-".join(name.casefold().split()))

    def model(self, name: str) -> CatalogModel:
        """The model of that id, alias or Hub id; UsageError with the nearest names where there is none."""
        model_id = self.resolve(name)
        if model_id is None:
            self.refuse_if_left_out(name)
            raise UsageError.unknown("model", name, self.model_ids(), next_command="fmkit catalog list")
        if model_id not in self._models:
            stored = _decode(self._compiled.models[model_id], StoredModel)
            self._models[model_id] = CatalogModel(
                candidate=_decode(self._compiled.candidates[model_id], Candidate),
                spec=stored.spec,
                config_confidence=stored.config_confidence,
                config_source=stored.config_source,
                config_file=stored.config_file,
                spec_fault=stored.spec_fault,
            )
        return self._models[model_id]

    def refuse_if_left_out(self, name: str) -> None:
        """CatalogInvalidError for a name that nobody knows while the user's own catalog, which may have it, is left out."""
        if self.own is not None and self.own.faults:
            message = f"no {name!r} in the shipped catalog, and your own is left out: it has"
            raise CatalogInvalidError(f"{message} {listed(self.own.faults)}", where=self.own.folder)

    @cached_property
    def _candidates(self) -> tuple[Candidate, ...]:
        return tuple(_decode(raw, Candidate) for raw in self._compiled.candidates.values())

    def candidates(self) -> tuple[Candidate, ...]:
        """All models, as selection sees them."""
        return self._candidates


@cache
def load_catalog() -> Catalog:
    """The catalog that came with this fmkit, with the user's own over it; read once per process.

    A catalog of the user's with faults is left out: OwnCatalogWarning says which, and the shipped one is used.
    """
    packaged, own = packaged_folder(), own_folder()
    if own is None and packaged.is_dir():
        shipped = _read_compiled(packaged / COMPILED_NAME)
        if shipped is not None:
            return Catalog(shipped)
    catalog = open_catalog(source_folder(), own)
    if catalog.own is not None and catalog.own.faults:
        warnings.warn(OwnCatalogWarning(catalog.own.folder, len(catalog.own.faults)), stacklevel=2)
    return catalog


def open_catalog(folder: Path, own: Path | None = None) -> Catalog:
    """The catalog of the source files in `folder` with the user's `own` over it, from the user's cache.

    It is compiled into the cache when a file of either has changed.
    """
    if not folder.is_dir():
        raise CatalogInvalidError(
            f"no catalog at {folder}: the package is incomplete",
            where=str(folder),
            next_command="pip install --force-reinstall fmkit",
        )
    place = compiled_file(folder, own)
    stamps = _stamps(folder, own)
    kept = None if place is None else _read_compiled(place)
    if kept is not None and kept.head.stamps == stamps:
        return Catalog(kept)
    from fmkit.catalog.compile import compile_catalog, content_hash, encode  # noqa: PLC0415 - imports PyYAML

    if kept is not None and kept.head.content == content_hash(folder, own):
        head: Head = msgspec.structs.replace(kept.head, stamps=stamps)
        fresh = msgspec.structs.replace(kept, head=head)
    elif own is None:
        fresh = compile_catalog(folder, stamps)
    else:
        from fmkit.catalog.own import compile_with_own  # noqa: PLC0415

        fresh = compile_with_own(folder, own, stamps)
    if place is not None:
        # A folder that can't be written costs time at every start, and nothing else.
        with contextlib.suppress(OSError):
            write_whole(place, encode(fresh))
    return Catalog(fresh)


def _decode(raw: memoryview, kind: type[T]) -> T:
    return msgspec.msgpack.decode(raw, type=kind)


def _read_compiled(path: Path) -> Compiled | None:
    """The compiled file, or None where it is absent, damaged or of another format."""
    try:
        content = memoryview(path.read_bytes())
        if zlib.crc32(content[CHECKSUM_BYTES:]) != int.from_bytes(content[:CHECKSUM_BYTES], "big"):
            return None
        compiled = msgspec.msgpack.decode(content[CHECKSUM_BYTES:], type=Compiled)
    except (OSError, msgspec.MsgspecError):
        return None
    return compiled if compiled.head.format == FORMAT and compiled.head.fmkit == fmkit.__version__ else None


def _stamps(folder: Path, own: Path | None = None) -> list[FileStamp]:
    """Name, size and time of every file that decides the result: the quick check that nothing changed."""
    stamps: list[FileStamp] = []
    ours = own_names(own) if own is not None and own.is_dir() else []
    for name in (*source_names(folder), *ours, *reader_names()):
        try:
            facts = os.stat(name)  # noqa: PTH116 - half the time of Path.stat, for a thousand files
        except OSError:  # a link that leads nowhere, in the user's own folder
            facts = os.lstat(name)
        stamps.append((name, facts.st_size, facts.st_mtime_ns))
    return stamps
