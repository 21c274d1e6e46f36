"""Memory of this process as the kernel sees it: resident set and its peak. Unknown is None, never 0."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

_SELF = Path("/proc/self")


def settle() -> None:
    """Collect garbage and give freed pages back to the kernel, so that a baseline does not contain leftovers.

    Without `malloc_trim` glibc keeps 6-60 MiB of freed memory resident.
    """
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident_bytes() -> int | None:
    """Bytes of this process in memory now."""
    return _status_bytes("VmRSS")


def resident_split() -> tuple[int | None, int | None]:
    """What is in memory now, in bytes: anonymous pages, and pages of files (libraries, mapped weights, shared memory)."""
    files = [_status_bytes(key) for key in ("RssFile", "RssShmem")]
    return _status_bytes("RssAnon"), None if None in files else sum(size for size in files if size is not None)


def private_bytes() -> int | None:
    """Bytes of private memory that this process may write to, touched or not: what RLIMIT_DATA counts."""
    return _status_bytes("VmData")


def reset_peak() -> bool:
    """Forget the peak so far, so that `peak_bytes` means the peak from now on; False where the kernel can't.

    Linux resets `VmHWM` when a 5 is written to /proc/self/clear_refs (man 5 proc).
    """
    try:
        (_SELF / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Most bytes of this process in memory since the last `reset_peak`."""
    return _status_bytes("VmHWM")


def _status_bytes(key: str) -> int | None:
    """A figure of /proc/self/status, whose "kB" are 1024 bytes."""
    try:
        lines = (_SELF / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return None
