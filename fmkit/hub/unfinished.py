"""Downloads that did not end: parts of files that the next run goes on with, and those that nobody can go on with.

The Hub library writes each file beside its place under a name of its own, and never goes on with it. Ours is named after the digest of
the whole.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from fmkit.hub.cache import cache_folder, repository_folder
from fmkit.units import format_bytes

if sys.platform != "win32":
    import fcntl

UNUSED_S = 24 * 3600.0
"""Where locks can't be looked at, a file that nobody wrote to for so long is left over."""


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of files that were removed, and the bytes they took on the disk."""

    hub_id: str
    files: int
    bytes: int

    def told(self) -> str:
        """What happened, in one sentence.

        >>> Unfinished(hub_id="acme/real", files=1, bytes=1288490188).told()
        'an earlier download of acme/real did not end: the part of 1 file that had come (1.20 GiB) was removed, whole files are kept'
        """
        plural = "" if self.files == 1 else "s"
        return (
            f"an earlier download of {self.hub_id} did not end: the part of {self.files} file{plural} that had come "
            f"({format_bytes(self.bytes)}) was removed, whole files are kept"
        )


def part_of(hub_id: str, digest: str) -> Path:
    """Where what came of a file with that digest is kept."""
    return repository_folder(hub_id) / "blobs" / f"{digest}.fmkit.incomplete"


def lock_of(hub_id: str, digest: str) -> Path:
    """What whoever downloads that file holds locked: the Hub library's own place."""
    return cache_folder() / ".locks" / repository_folder(hub_id).name / f"{digest}.lock"


def begun_bytes(hub_id: str, digest: str) -> int:
    """How much of a file with that digest came in an earlier run."""
    try:
        return part_of(hub_id, digest).stat().st_size
    except OSError:
        return 0


def told_begun(hub_id: str) -> str | None:
    """What the next download of a model goes on with, in a clause; None where there is nothing."""
    parts = sorted((repository_folder(hub_id) / "blobs").glob("*.fmkit.incomplete"))
    sizes = [size for part in parts if (size := begun_bytes(hub_id, part.name.partition(".")[0]))]
    if not sizes:
        return None
    plural = "" if len(sizes) == 1 else "s"
    return (
        f"the {format_bytes(sum(sizes))} of {len(sizes)} file{plural} of {hub_id} that came are kept at {parts[0].parent}: "
        "the same command goes on from there"
    )


def remove_unfinished(hub_id: str, keep: Collection[str] = ()) -> Unfinished | None:
    """Remove the parts of a repository's files that no running program is downloading; None where there are none.

    Those of files with a digest among `keep` stay: they are gone on with.
    """
    sizes = []
    kept = {part_of(hub_id, digest) for digest in keep}
    for part in (repository_folder(hub_id) / "blobs").glob("*.incomplete"):
        if part not in kept and _is_unused(part, lock_of(hub_id, part.name.partition(".")[0])):
            with suppress(OSError):
                size = disk_bytes(part)
                part.unlink()
                sizes.append(size)
    return Unfinished(hub_id=hub_id, files=len(sizes), bytes=sum(sizes)) if sizes else None


def came_bytes(hub_id: str) -> int:
    """Bytes of the repository on this disk, parts of files included."""
    total = 0
    for path in (repository_folder(hub_id) / "blobs").glob("*"):
        with suppress(OSError):
            total += disk_bytes(path)
    return total


def disk_bytes(path: Path) -> int:
    """What a file takes: its size or, where it was made longer than what came so far, its blocks."""
    facts = path.stat()
    blocks = getattr(facts, "st_blocks", None)
    return facts.st_size if blocks is None else min(facts.st_size, blocks * 512)


def _is_unused(part: Path, lock: Path) -> bool:
    """Whether nobody downloads the file: the library holds a lock on it for as long as it does."""
    if sys.platform == "win32":  # pragma: no cover
        return time.time() - part.stat().st_mtime > UNUSED_S
    try:
        with lock.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - part.stat().st_mtime > UNUSED_S
    except OSError:
        return False
    return True
