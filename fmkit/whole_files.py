"""Files written in one step: a reader sees the old one or the new one, never a part, whenever the writer is killed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

BESIDE = ".writing-"
LEFT_S = 3600.0
"""What a writer that was killed left beside its place is removed by the next one after so long: a write takes milliseconds."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there; its folder is made. OSError where that can't be."""
    import tempfile  # noqa: PLC0415 - 3 ms that only a writer pays

    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path.parent)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=BESIDE)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _remove_left(folder: Path) -> None:
    for left in folder.glob(f"{BESIDE}*"):
        with suppress(OSError):  # another writer removes it too
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()
