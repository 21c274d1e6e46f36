"""Downloaded files held against what the Hub stated of them: size and digest. What does not match is removed."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from fmkit.errors import UnsafeInputError
from fmkit.hub.repository import Digest

_CHUNK_BYTES = 1024**2


def verify(folder: Path, name: str, size: int, digest: Digest | None) -> None:
    """Hold a file of a snapshot against its size and, where the Hub states one, its digest.

    One that is different is removed, its blob in the cache included, so that the next download fetches it anew; UnsafeInputError says so.
    """
    file = folder / name
    if not file.is_file():
        raise UnsafeInputError(f"{name} is not there after the download", where=str(file))
    found = file.stat().st_size
    if found != size:
        raise _removed(file, f"{name} has {found:,} bytes, and the Hub stated {size:,}")
    if digest is not None and digest_of(file, digest.kind) != digest.value:
        raise _removed(file, differs(name, digest))


def digest_of(file: Path, kind: str) -> str:
    """SHA-256 of the content, or git's digest of it as a blob (SHA-1 of a short header and the content), in hexadecimal.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "empty"); _ = file.write_bytes(b""); digest_of(file, "blob")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    hasher = hasher_for(kind, file.stat().st_size)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def hasher_for(kind: str, size: int) -> hashlib._Hash:
    """What the content of a file of that size is fed to, for its digest."""
    if kind == "sha256":
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def differs(name: str, digest: Digest) -> str:
    """What to say of content that is not what was stated."""
    kind = "SHA-256" if digest.kind == "sha256" else "git's digest"
    return f"{name} is not the file that the Hub stated: its {kind} differs"


def _removed(file: Path, what: str) -> UnsafeInputError:
    blob = file.resolve()
    for path in (file, blob):
        with suppress(OSError):
            path.unlink()
    kept = "it could not be removed" if file.exists() or blob.exists() else "it was removed"
    return UnsafeInputError(
        f"{what}; {kept}",
        where=str(file),
        next_command="try again; if it happens again, check HF_ENDPOINT and the disk",
    )
