"""Quantised variants of a model that others published on the Hub: which files exist, how long they are, who made them.

One request lists the repositories that name the model as their base, the most downloaded first; one more each gives their files. Later
pages of the list are not asked for. The filter is case-sensitive: it needs the name as the Hub writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from fmkit.errors import FmkitError, NetworkNeededError, UnsafeInputError
from fmkit.hub.client import HubClient
from fmkit.hub.refusals import refusal
from fmkit.hub.repository import HUB_ID, Repository, fetch_repository
from fmkit.hub.weight_files import safetensors_of, variants_of
from fmkit.model.stored import StoredFile

LISTED = 100
MAX_LIST_BYTES = 24_000_000
MOST_REPOSITORIES = 12

_METHODS = (
    ("awq", "AWQ"), ("gptq", "GPTQ"), ("nvfp4", "NVFP4"), ("mxfp4", "MXFP4"), ("fp8", "FP8"), ("mlx", "MLX"), ("bnb", "bitsandbytes"),
    ("bitsandbytes", "bitsandbytes"), ("w4a16", "W4A16"), ("w8a8", "W8A8"), ("w8a16", "W8A16"), ("int8", "INT8"), ("int4", "INT4"),
    ("exl2", "EXL2"), ("exl3", "EXL3"), ("compressed-tensors", "compressed-tensors"), ("hqq", "HQQ"), ("auto-round", "AutoRound"),
)  # fmt: skip
"""Words of a repository's name and tags, and the method that they mean; the first that is found counts."""


class _Listed(msgspec.Struct, frozen=True):
    id: str
    downloads: int | None = None
    gated: bool | str | None = None
    tags: list[str] | None = None


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


class Variants(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, by publisher and size; `listed` repositories name the model as their base, `looked_at` were opened."""

    listed: int
    looked_at: int
    rows: tuple[HubVariant, ...]
    notes: tuple[str, ...] = ()


def find_variants(hub_id: str, say: Callable[[str], None] | None = None) -> Variants:
    """The quantised variants of `hub_id`, which has to be written as the Hub does. Raises NetworkNeededError, UnsafeInputError."""
    client = HubClient(say=say)
    listed = _list(client, hub_id)
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
    return Variants(listed=len(listed), looked_at=len(opened), rows=tuple(rows), notes=notes)


def _list(client: HubClient, hub_id: str) -> list[_Listed]:
    path = f"/api/models?filter={quote(f'base_model:quantized:{hub_id}', safe='')}&sort=downloads&limit={LISTED}"
    answer = client.get(path, limit=MAX_LIST_BYTES, where=hub_id)
    if answer.status != 200:
        raise refusal(answer, hub_id, None, hub_id)
    if answer.body.count(b"{") > 200_000 or answer.body.count(b",") > 1_000_000:
        raise UnsafeInputError("the list of models is longer than any page of the Hub", where=hub_id)
    try:
        rows = msgspec.json.decode(answer.body, type=list[_Listed])
    except (ValueError, RecursionError) as error:
        raise UnsafeInputError(f"the answer is no list of models ({str(error)[:120]})", where=hub_id) from None
    return [row for row in rows[:LISTED] if HUB_ID.fullmatch(row.id) and ".." not in row.id]


def _opened(client: HubClient, one: _Listed) -> Repository | FmkitError:
    """The files of a repository; what is wrong with a single one does not end the search, a lost network does."""
    try:
        return fetch_repository(client, one.id, None)
    except NetworkNeededError:
        raise
    except FmkitError as error:
        return error


def _rows(one: _Listed, repository: Repository) -> list[HubVariant]:
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


def _row(one: _Listed, repository: Repository, method: str, label: str, files: tuple[StoredFile, ...]) -> HubVariant:
    return HubVariant(
        hub_id=repository.hub_id,
        method=method,
        label=label,
        files=tuple(file.name for file in files),
        bytes=sum(file.bytes for file in files),
        downloads=one.downloads,
        gated=repository.gated,
        commit=repository.commit,
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
