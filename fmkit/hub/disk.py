"""What the Hub library has downloaded to this disk: which models, whole or not. Snapshots are walked; references are not trusted."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from fmkit.errors import FmkitError
from fmkit.hub.cache import cache_folder, cached_snapshots
from fmkit.hub.local import read_folder

State = Literal["complete", "partial", "no weights", "damaged"]

_REPOSITORY = re.compile(r"models--(?P<org>[\w.-]+?)--(?P<name>[\w.-]+)", re.ASCII)
_ORDER: tuple[State, ...] = ("complete", "partial", "damaged", "no weights")


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """One repository on this disk; `commit` is of its best snapshot, `bytes` are of all its files, also of other commits."""

    hub_id: str
    commit: str | None
    state: State
    bytes: int
    format: str | None
    detail: str = ""


def local_models() -> tuple[LocalModel, ...]:
    """The models in the Hub library's cache, by name; none where there is no cache, or it can't be read."""
    try:
        folders = sorted(path for path in cache_folder().iterdir() if path.is_dir())
    except OSError:
        return ()
    found = ((_REPOSITORY.fullmatch(folder.name), folder) for folder in folders)
    return tuple(_model(f"{name['org']}/{name['name']}", folder) for name, folder in found if name is not None)


def _model(hub_id: str, folder: Path) -> LocalModel:
    size = _bytes(folder)
    candidates = [_snapshot(hub_id, snapshot, size) for snapshot in cached_snapshots(hub_id, None)]
    nothing = LocalModel(
        hub_id=hub_id,
        commit=None,
        state="no weights",
        bytes=size,
        format=None,
        detail="only looked up, nothing downloaded",
    )
    found = min(candidates, key=lambda model: _ORDER.index(model.state), default=nothing)
    if found.state == "no weights" and any(folder.glob("blobs/*.incomplete")):
        return msgspec.structs.replace(found, state="partial", detail="a download that broke off")
    return found


def _snapshot(hub_id: str, folder: Path, size: int) -> LocalModel:
    """A snapshot as its own files describe it: every shard that the index names has to be there, each as long as its header says."""
    state: State
    try:
        files = read_folder(folder)
    except FmkitError as error:
        empty = "no config.json and no weights" in error.message
        state, kind, detail = ("no weights" if empty else "damaged"), None, error.message
    else:
        kind = files.weights.format if files.weights is not None else files.layout
        detail = files.notes[0] if files.notes else ""
        if any("missing" in note for note in files.notes):
            state = "partial"
        else:
            state = "no weights" if files.layout == "config-only" else "complete"
    return LocalModel(hub_id=hub_id, commit=folder.name, state=state, bytes=size, format=kind, detail=detail)


def _bytes(folder: Path) -> int:
    """Bytes of the regular files below, each once: snapshots are links to blobs. A download beside it may take files and folders away."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                facts = os.lstat(os.path.join(parent, name))  # noqa: PTH118  a name of os.walk
                total += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return total
