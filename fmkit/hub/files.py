"""What the files of a model say, nothing loaded: configuration, weights by header or by size, what kind of repository it is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fmkit.hub.weight_files import GgufVariant
from fmkit.model.stored import StoredWeights
from fmkit.model.text import TextFacts

Layout = Literal["transformers", "gguf", "adapter", "diffusers", "weights-only", "config-only"]
"""How a repository is laid out. `weights-only` has weights and no config.json, `config-only` the reverse."""


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter (LoRA and its kin): it is loaded on top of its base model."""

    base: str | None
    method: str
    rank: int | None


class GgufFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What all quantisations of a repository share: the keys of the architecture, and how long a header is."""

    keys: dict[str, Any]
    header_bytes: int


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a diffusers pipeline, by its folder."""

    name: str
    bytes: int
    format: str


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its files describe it; `notes` says what is missing or was not opened."""

    where: str
    layout: Layout
    config: dict[str, Any] | None = None
    weights: StoredWeights | None = None
    adapter: Adapter | None = None
    gguf: GgufFacts | None = None
    variants: tuple[GgufVariant, ...] = ()
    components: tuple[Component, ...] = ()
    text: TextFacts | None = None
    notes: tuple[str, ...] = ()
