"""The disk that models are loaded from: its kind, as the kernel describes it, and how fast it really reads."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from fmkit.hardware.probe import PLATFORM, read_text
from fmkit.speed.rates import DiskKind
from fmkit.units import MIB

SYS_DEV_BLOCK = Path("/sys/dev/block")
FILE_BYTES = 256 * MIB
CHUNK_BYTES = 8 * MIB
MOST_WRITE_S = 8.0
"""A disk that takes longer to write the file is measured with what was written until then."""


def models_folder() -> Path:
    """Where the Hub's cache lies, or its nearest parent that exists."""
    stated = os.environ.get("HF_HUB_CACHE") or os.environ.get("HF_HOME")
    try:
        folder = Path(stated) if stated else Path.home() / ".cache" / "huggingface"
    except RuntimeError:  # no home
        return Path(tempfile.gettempdir())
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path(tempfile.gettempdir()))


def disk_kind(folder: Path, sys_dev_block: Path = SYS_DEV_BLOCK) -> DiskKind | None:
    """The kind of disk that a folder lies on; None where the kernel doesn't say (overlays, networks, other systems)."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return None
    return kind_of(sys_dev_block / f"{os.major(device)}:{os.minor(device)}") if PLATFORM == "linux" else None


def kind_of(block: Path) -> DiskKind | None:
    """The kind of a block device by its folder in sysfs; a partition's disk is the folder above it.

    A device that the kernel makes up (mapped, in memory, of a virtual machine) says nothing of the disk behind it.
    """
    if not block.exists():
        return None
    disk = block.resolve()
    if (disk / "partition").exists():
        disk = disk.parent
    if disk.name.startswith("nvme"):
        return "nvme"
    rotational = read_text(disk / "queue" / "rotational")
    if not disk.name.startswith(("sd", "mmcblk")) or rotational not in ("0", "1"):
        return None
    return "disk" if rotational == "1" else "ssd"


def read_bytes_per_s(folder: Path) -> float | None:
    """Bytes per second of reading a file back that was pushed out of the system's cache; None where that can't be done."""
    if not hasattr(os, "posix_fadvise"):
        return None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="fmkit-disk-") as file:
            written = _write(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            started = time.perf_counter()
            read = _read(file.fileno())
            return read / (time.perf_counter() - started) if read == written else None
    except OSError:
        return None


def _write(descriptor: int) -> int:
    """Write the file with bytes that no disk can shorten, until it is large enough or the time is up."""
    chunk, written, end = os.urandom(CHUNK_BYTES), 0, time.perf_counter() + MOST_WRITE_S
    while written < FILE_BYTES and time.perf_counter() < end:
        written += os.write(descriptor, chunk)
        os.fsync(descriptor)  # pages that are not written yet can't be dropped
    return written


def _read(descriptor: int) -> int:
    os.lseek(descriptor, 0, os.SEEK_SET)
    read = 0
    while chunk := os.read(descriptor, CHUNK_BYTES):
        read += len(chunk)
    return read
