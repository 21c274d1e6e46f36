"""Downloads that did not end: the Hub library writes each file beside its place under a name of its own, and never goes on with it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from fmkit.hub.cache import cache_folder
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


def remove_unfinished(hub_id: str) -> Unfinished | None:
    """Remove the parts of a repository's files that no running program is downloading; None where there are none."""
    name = f"models--{hub_id.replace('/', '--')}"
    sizes = []
    for part in (cache_folder() / name / "blobs").glob("*.incomplete"):
        if _is_unused(part, cache_folder() / ".locks" / name / f"{part.name.partition('.')[0]}.lock"):
            with suppress(OSError):
                size = disk_bytes(part)
                part.unlink()
                sizes.append(size)
    return Unfinished(hub_id=hub_id, files=len(sizes), bytes=sum(sizes)) if sizes else None


def came_bytes(hub_id: str) -> int:
    """Bytes of the repository on this disk, parts of files included."""
    total = 0
    for path in (cache_folder() / f"models--{hub_id.replace('/', '--')}" / "blobs").glob("*"):
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
