"""Quantised variants of a model that others published on the Hub: which files exist, how long they are, who made them.

One request lists the repositories that name the model as their base, the most downloaded first; one more each gives their files. Later
pages of the list are not asked for. The filter is case-sensitive: it needs the name as the Hub writes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from fmkit.errors import FmkitError, NetworkNeededError
from fmkit.hub.client import HubClient
from fmkit.hub.connection import switched_off
from fmkit.hub.listing import list_models
from fmkit.hub.live import REFRESH_DEADLINE_S, Described, kept_name, today
from fmkit.hub.metadata_cache import age_note
from fmkit.hub.repository import Repository, fetch_repository
from fmkit.hub.weight_files import safetensors_of, variants_of
from fmkit.model.stored import StoredFile
from fmkit.whole_files import write_whole

MOST_REPOSITORIES = 12
MOST_METHODS = 8
USUAL_LABEL = "Q4_K_M"
"""Of a repository of GGUF files, the quantisation that stands for it."""

_METHODS = (
    ("awq", "AWQ"), ("gptq", "GPTQ"), ("nvfp4", "NVFP4"), ("mxfp4", "MXFP4"), ("fp8", "FP8"), ("mlx", "MLX"), ("bnb", "bitsandbytes"),
    ("bitsandbytes", "bitsandbytes"), ("w4a16", "W4A16"), ("w8a8", "W8A8"), ("w8a16", "W8A16"), ("int8", "INT8"), ("int4", "INT4"),
    ("exl2", "EXL2"), ("exl3", "EXL3"), ("compressed-tensors", "compressed-tensors"), ("hqq", "HQQ"), ("auto-round", "AutoRound"),
)  # fmt: skip
"""Words of a repository's name and tags, and the method that they mean; the first that is found counts."""

Kept = TypeVar("Kept", bound=msgspec.Struct)


class HubVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One quantisation in one repository: its files are what a download takes, `bytes` long together."""

    hub_id: str
    method: str
    label: str
    files: tuple[str, ...]
    bytes: int
    downloads: int | None
    gated: bool
    commit: str
    last_change: str | None = None


class Variants(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, by publisher and size; `listed` repositories name the model as their base, `looked_at` were opened.

    `asked_at` is in seconds since 1970, UTC.
    """

    asked_at: float
    listed: int
    looked_at: int
    rows: tuple[HubVariant, ...]
    notes: tuple[str, ...] = ()


class BestVariants(msgspec.Struct, frozen=True, kw_only=True):
    """The copies that one would look at first, as they were on `asked_on`."""

    asked_on: str
    rows: tuple[HubVariant, ...]


def find_variants(hub_id: str, *, offline: bool, folder: Path, say: Callable[[str], None] | None = None) -> Variants:
    """The quantised variants of `hub_id`, which has to be written as the Hub does; kept in `folder`.

    Offline, or where the Hub can't be reached, the last answer counts, with a note of its age. Raises NetworkNeededError where there is
    none, UnsafeInputError.
    """
    file = folder / kept_name("all-variants", hub_id)
    kept = _load(file, Variants)
    if not (offline or switched_off()):
        try:
            found = _find(hub_id, say)
        except NetworkNeededError:
            if kept is None:
                raise
        else:
            _store(file, found)
            return found
    if kept is None:
        raise NetworkNeededError(
            f"the Hub was never asked for variants of {hub_id}, and the network is off",
            where=hub_id,
            next_command="leave out --offline (and HF_HUB_OFFLINE); fmkit catalog list --local shows what is on this disk",
        )
    return msgspec.structs.replace(kept, notes=(*kept.notes, age_note(kept.asked_at, time.time())))


def _find(hub_id: str, say: Callable[[str], None] | None) -> Variants:
    if say is not None:
        say(f"asking the Hub for variants of {hub_id} ...")
    client = HubClient(say=say)
    listed = list_models(client, {"filter": f"base_model:quantized:{hub_id}"}, hub_id)
    publisher = hub_id.partition("/")[0]
    ordered = sorted(listed, key=lambda one: (one.id.partition("/")[0] != publisher, -(one.downloads or 0), one.id))
    opened = ordered[:MOST_REPOSITORIES]
    found = client.get_all(lambda one: _opened(client, one), opened, hub_id)
    rows = [
        row
        for one, repository in zip(opened, found, strict=True)
        if isinstance(repository, Repository)
        for row in _rows(one, repository)
    ]
    notes = tuple(
        f"{one.id} was left out: {error.message}"
        for one, error in zip(opened, found, strict=True)
        if isinstance(error, FmkitError)
    )
    return Variants(asked_at=time.time(), listed=len(listed), looked_at=len(opened), rows=tuple(rows), notes=notes)


def best_variants(
    hub_ids: Sequence[str], *, offline: bool, folder: Path, say: Callable[[str], None] | None = None
) -> dict[str, BestVariants | FmkitError | None]:
    """One quantised copy per model and method: the publisher's own, else the most downloaded; kept in `folder` with its date.

    One request for each model and one for each copy. Offline the last answers count, None where there is none. An error stands in its
    model's place, a lost network is raised.
    """
    if offline or switched_off():
        return {hub_id: _load(folder / kept_name("variants", hub_id), BestVariants) for hub_id in hub_ids}
    client = HubClient(REFRESH_DEADLINE_S, say)
    found = client.get_all(lambda hub_id: _best(client, hub_id), list(hub_ids), "the Hub")
    for hub_id, best in zip(hub_ids, found, strict=True):
        if isinstance(best, BestVariants):
            _store(folder / kept_name("variants", hub_id), best)
    return dict(zip(hub_ids, found, strict=True))


def _best(client: HubClient, hub_id: str) -> BestVariants | FmkitError:
    try:
        listed = list_models(client, {"filter": f"base_model:quantized:{hub_id}"}, hub_id)
    except NetworkNeededError:
        raise
    except FmkitError as error:
        return error
    rows = []
    for one in _one_per_method(listed, hub_id.partition("/")[0]):
        repository = _opened(client, one)
        made = _rows(one, repository) if isinstance(repository, Repository) else []
        if made:
            rows.append(next((row for row in made if row.label == USUAL_LABEL), made[0]))
    return BestVariants(asked_on=today(), rows=tuple(rows))


def _one_per_method(listed: list[Described], publisher: str) -> list[Described]:
    """The repository to look at for each method that names and tags tell; what they don't tell is left out."""
    ordered = sorted(listed, key=lambda one: (one.id.partition("/")[0] != publisher, -(one.downloads or 0), one.id))
    chosen: dict[str, Described] = {}
    for one in ordered:
        tags = one.tags or []
        method = "GGUF" if "gguf" in tags or "gguf" in one.id.casefold() else method_of(one.id, tags)
        if method != "unknown":
            chosen.setdefault(method, one)
    return list(chosen.values())[:MOST_METHODS]


def _store(file: Path, answer: msgspec.Struct) -> None:
    """Keep an answer; a folder that can't be written to costs time at the next call, and nothing else."""
    with suppress(OSError):
        write_whole(file, msgspec.msgpack.encode(answer))


def _load(file: Path, kind: type[Kept]) -> Kept | None:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=kind)
    except (OSError, ValueError, RecursionError):
        return None


def _opened(client: HubClient, one: Described) -> Repository | FmkitError:
    """The files of a repository; what is wrong with a single one does not end the search, a lost network does."""
    try:
        return fetch_repository(client, one.id, None)
    except NetworkNeededError:
        raise
    except FmkitError as error:
        return error


def _rows(one: Described, repository: Repository) -> list[HubVariant]:
    gguf = variants_of(repository.sizes)
    if gguf:
        return [
            _row(one, repository, "GGUF", variant.label, variant.selected.files)
            for variant in gguf
            if not variant.selected.missing
        ]
    selected = safetensors_of(repository.sizes)
    if selected is None or selected.missing:
        return []
    method = method_of(one.id, one.tags or [])
    return [_row(one, repository, method, method, selected.files)]


def _row(one: Described, repository: Repository, method: str, label: str, files: tuple[StoredFile, ...]) -> HubVariant:
    return HubVariant(
        hub_id=repository.hub_id,
        method=method,
        label=label,
        files=tuple(file.name for file in files),
        bytes=sum(file.bytes for file in files),
        downloads=one.downloads,
        gated=repository.gated,
        commit=repository.commit,
        last_change=(one.lastModified or "")[:10] or None,
    )


def method_of(hub_id: str, tags: list[str]) -> str:
    """How a repository is quantised, by its name, else by its tags; "unknown" where neither says.

    >>> method_of("org/Model-7B-AWQ", []), method_of("org/model", ["safetensors", "fp8"]), method_of("org/model-4bit", [])
    ('AWQ', 'FP8', 'unknown')
    """
    for texts in ([hub_id.partition("/")[2]], tags):
        words = {word for text in texts for word in re.split(r"[^a-z0-9]+", text.casefold())} | {
            text.casefold() for text in texts
        }
        found = next((name for word, name in _METHODS if word in words), None)
        if found is not None:
            return found
    return "unknown"
