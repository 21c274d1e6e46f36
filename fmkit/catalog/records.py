"""The compiled catalog: one msgpack file whose parts are decoded when they are asked for."""

from __future__ import annotations

from typing import Literal

import msgspec

from fmkit.model.spec import ModelSpec
from fmkit.selection.facts import Candidate, CatalogAge, OwnCatalog

FORMAT = 6
"""The version of the compiled file's layout; a file of another version is compiled anew."""

CHECKSUM_BYTES = 4
"""A compiled file starts with the CRC-32 of the rest: a part decoded late must not turn out to be damaged."""

FileStamp = tuple[str, int, int]
"""A file's name, size and modification time in nanoseconds: what is compared before any content is read."""


class CatalogModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the catalog. `spec` is None for API models, and where config.json could not be read (`spec_fault`)."""

    candidate: Candidate
    spec: ModelSpec | None
    config_confidence: Literal["verbatim", "derived"] | None = None
    config_source: str | None = None
    config_file: str | None = None
    spec_fault: str | None = None


class StoredModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a CatalogModel has beside its candidate."""

    spec: ModelSpec | None = None
    config_confidence: Literal["verbatim", "derived"] | None = None
    config_source: str | None = None
    config_file: str | None = None
    spec_fault: str | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a compiled file was made from: `content` is a hash of the sources and of the reader, `stamps` their quick form."""

    format: int
    fmkit: str
    content: str
    stamps: list[FileStamp]


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a compiled catalog. A part of bytes is msgpack of the type in the comment: it is stepped over whole, and costs nothing until decoded."""

    head: Head
    date: str
    names: dict[str, str]  # case-folded id, alias or Hub id -> catalog id
    candidates: dict[str, memoryview]  # Candidate
    models: dict[str, memoryview]  # StoredModel
    devices: memoryview  # dict[str, Device]
    device_aliases: dict[str, str]
    licences: memoryview  # dict[str, Licence]
    tasks: memoryview  # dict[str, Task]
    engines: memoryview  # dict[str, EngineFile]
    layouts: memoryview  # dict[str, Layout]
    precisions: memoryview  # dict[str, Precision]
    sizes: memoryview  # dict[str, SizeClass]
    quality_losses: memoryview  # tuple[QualityLoss, ...]
    cloud_prices: memoryview  # tuple[CloudPrice, ...]
    speed: memoryview  # SpeedFit
    capability: memoryview  # CapabilityFit
    abilities: memoryview  # dict[str, Ability]
    age: CatalogAge = CatalogAge()
    own: OwnCatalog | None = None
