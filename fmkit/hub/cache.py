"""The Hub library's own cache on this disk, read without importing the library (which costs 130 ms)."""

from __future__ import annotations

import os
import re
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")


def cached_file(hub_id: str, revision: str | None, name: str) -> tuple[Path, str] | None:
    """A file of a repository that was downloaded before, and its commit; None if it is not there.

    Layout, as huggingface_hub writes it: models--org--name/refs/<revision> holds a commit, and
    models--org--name/snapshots/<commit>/ the files.
    """
    repository = repository_folder(hub_id)
    commit = _commit(repository, revision or "main")
    if commit is None:
        return None
    file = repository / "snapshots" / commit / name
    return (file, commit) if file.is_file() else None


def cached_snapshots(hub_id: str, revision: str | None) -> list[Path]:
    """The folders of a repository that could be its `revision`, the likeliest first.

    That is the one that the reference names. Where none is asked for and the reference leads nowhere, all snapshots count, the newest
    first: a download of a pinned commit writes no reference, and a mere look-up can move it to a commit that nobody downloaded.
    """
    repository = repository_folder(hub_id) / "snapshots"
    commit = _commit(repository.parent, revision or "main")
    named = [repository / commit] if commit is not None and (repository / commit).is_dir() else []
    if revision is not None:
        return named
    try:
        others = [path for path in repository.iterdir() if COMMIT.fullmatch(path.name) and path.is_dir()]
        return [*named, *sorted(others, key=lambda path: -path.stat().st_mtime)]
    except OSError:
        return named


def repository_folder(hub_id: str) -> Path:
    """Where the files of a repository are kept."""
    return cache_folder() / f"models--{hub_id.replace('/', '--')}"


def cache_folder() -> Path:
    """Where huggingface_hub keeps files: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or ~/.cache, in this order."""
    explicit = os.environ.get("HF_HUB_CACHE")
    if explicit:
        return Path(explicit).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _commit(repository: Path, revision: str) -> str | None:
    if COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None
