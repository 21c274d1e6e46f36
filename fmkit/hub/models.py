"""Any model of the Hub as files describe it: from this disk where it is complete there, from what was asked before, else from the Hub."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError, NetworkNeededError
from fmkit.hub import metadata_cache
from fmkit.hub.cache import cached_file, cached_snapshots
from fmkit.hub.client import HubClient
from fmkit.hub.connection import endpoint, switched_off
from fmkit.hub.contents import CONFIG
from fmkit.hub.files import ModelFiles
from fmkit.hub.local import read_folder
from fmkit.hub.metadata_cache import Kept
from fmkit.hub.remote import fetch_files
from fmkit.hub.repository import check_name, fetch_repository


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the Hub: its files at one commit, and where that is known from.

    `licence` in the publisher's words and `gated` are None where only files on this disk were looked at.
    """

    hub_id: str
    commit: str
    files: ModelFiles
    source: str
    licence: str | None = None
    gated: bool | None = None


def find_model(
    hub_id: str,
    revision: str | None,
    label: str | None,
    *,
    offline: bool,
    folder: Path,
    say: Callable[[str], None] | None = None,
    text_files: bool = False,
) -> HubModel:
    """The files of `hub_id` at `revision` (default: main); `label` names a quantisation of a repository of GGUF files.

    `text_files` asks for tokenizer, generation and chat template files too.

    Looked for in this order: the Hub library's cache, if configuration and weights are there whole; an earlier answer in `folder`,
    if it still stands; the Hub; an older answer, where the Hub can't be reached. `say` hears when the Hub is asked. Raises UsageError, ModelNotFoundError,
    NetworkNeededError, UnsafeInputError.
    """
    check_name(hub_id, revision)
    home = endpoint()
    off = offline or switched_off()
    local = None if label is not None else _on_this_disk(hub_id, revision, any_commit=off)
    if local is not None and local.files.weights is not None:
        return local
    plain = metadata_cache.load(folder, home, hub_id, revision, label)
    whole = metadata_cache.load(folder, home, hub_id, revision, label, text_files=True)
    now = time.time()
    kept = whole if text_files and whole is not None else _newer(whole, plain)
    if kept is not None and kept.is_fresh(now) and (kept is whole or not text_files):
        return _from_kept(kept, now)
    before = _from_kept(kept, now) if kept is not None else local
    if off:
        if before is not None:
            return before
        raise NetworkNeededError(
            f"{hub_id} is neither in the catalog nor among what was asked or downloaded before, and the network is off",
            where=hub_id if revision is None else f"{hub_id}@{revision}",
            next_command="leave out --offline (and HF_HUB_OFFLINE), or give the path of a folder or config.json",
        )
    try:
        return _ask(hub_id, revision, label, home, folder, say, text_files=text_files)
    except NetworkNeededError:
        if before is None:
            raise
        return before


def _newer(one: Kept | None, other: Kept | None) -> Kept | None:
    """The answer that was asked for last."""
    return max((kept for kept in (one, other) if kept is not None), key=lambda kept: kept.asked_at, default=None)


def _ask(
    hub_id: str,
    revision: str | None,
    label: str | None,
    home: str,
    folder: Path,
    say: Callable[[str], None] | None,
    *,
    text_files: bool,
) -> HubModel:
    if say is not None:
        say(f"asking {home} about {hub_id} ...")
    client = HubClient(say=say)
    repository = fetch_repository(client, hub_id, revision)
    files = fetch_files(client, repository, revision, label, text_files=text_files)
    kept = Kept(
        version=metadata_cache.VERSION,
        endpoint=home,
        hub_id=repository.hub_id,
        revision=revision,
        commit=repository.commit,
        asked_at=time.time(),
        files=files,
        licence=repository.licence,
        gated=repository.gated,
    )
    metadata_cache.store(folder, kept, hub_id, label, text_files=text_files)
    return _from(kept, files, "asked now")


def _from_kept(kept: Kept, now: float) -> HubModel:
    """An earlier answer, with its age."""
    files = kept.files
    if not kept.is_fresh(now):
        note = metadata_cache.age_note(kept.asked_at, now)
        files = msgspec.structs.replace(files, notes=(*files.notes, note))
    date, ago = metadata_cache.age(kept.asked_at, now)
    return _from(kept, files, f"asked on {date} ({ago})")


def _from(kept: Kept, files: ModelFiles, when: str) -> HubModel:
    return HubModel(
        hub_id=kept.hub_id,
        commit=kept.commit,
        files=files,
        source=f"{kept.hub_id} at commit {kept.commit}, {when}",
        licence=kept.licence,
        gated=kept.gated,
    )


def _on_this_disk(hub_id: str, revision: str | None, *, any_commit: bool) -> HubModel | None:
    """What the Hub library has downloaded, if it can be read; damaged files are as if they were not there.

    `any_commit` takes what is there where nothing says which commit the branch is at.
    """
    folders = cached_snapshots(hub_id, revision)
    if not any_commit and cached_file(hub_id, revision, CONFIG) is None:
        return None
    for folder in folders:
        try:
            files = read_folder(folder)
        except FmkitError:
            continue
        where = f"{hub_id} at commit {folder.name}, in the Hub's cache on this disk"
        return HubModel(hub_id=hub_id, commit=folder.name, files=files, source=where)
    return None
