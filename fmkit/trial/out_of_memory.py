"""Memory that ran out: the texts by which libraries say so, what they say they held and wanted, and the kernel's own kills."""

from __future__ import annotations

import re
from pathlib import Path

from fmkit.errors import TrialFailedError
from fmkit.trial.request import TrialFailure
from fmkit.units import GIB, KIB, MIB, format_bytes

TEXTS = (
    "out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "unable to allocate", "failed to allocate",
    "std::bad_alloc", "cublas_status_alloc_failed", "hiperroroutofmemory", "insufficient memory",
)  # fmt: skip
"""In lower case: PyTorch on CUDA, ROCm, MPS and CPU, NumPy, the C++ library, cuBLAS, ggml and the C library's ENOMEM."""

UNITS = {"bytes": 1, "kib": KIB, "mib": MIB, "gib": GIB, "mb": MIB}
"""ggml writes MB for 2**20 bytes."""

_WANTED = re.compile(
    r"(?:tried to allocate|unable to allocate|attempted to allocate|allocate buffer of size|allocating) +([\d.]+) ?(bytes|mb|[kmg]ib)?",
    re.IGNORECASE,
)
_HELD = re.compile(r"of the allocated memory ([\d.]+) ([kmg]ib|bytes) is allocated by pytorch", re.IGNORECASE)

VMSTAT = Path("/proc/vmstat")


class OutOfMemoryError(TrialFailedError):
    """A trial that needed more memory than it got; `failure` has the figures, `doing` the phase in words."""

    def __init__(self, failure: TrialFailure, doing: str, *, where: str, what_fits: str = "") -> None:
        rest = f". {what_fits}" if what_fits else ""
        super().__init__(
            f"out of memory while {doing}: {told(failure)}{rest}", where=where, next_command=f"fmkit vram {where} --fit"
        )
        self.failure = failure
        self.doing = doing


def is_out_of_memory(text: str) -> bool:
    """Whether a library's message says that memory ran out."""
    return any(words in text.casefold() for words in TEXTS)


def wanted_bytes(text: str) -> int | None:
    """What a library's message says was asked for last, in bytes.

    >>> wanted_bytes("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes. Error code 12")
    8000000000
    >>> wanted_bytes("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.15 GiB")
    2684354560
    >>> wanted_bytes("ggml_aligned_malloc: insufficient memory (attempted to allocate 5120.00 MB)")
    5368709120
    """
    return _size(_WANTED.search(text))


def held_bytes(text: str) -> int | None:
    """What PyTorch's message says its tensors held on the device, in bytes; None on a CPU, where it does not say."""
    return _size(_HELD.search(text))


def told(failure: TrialFailure) -> str:
    """The failure's message with its figures.

    >>> told(TrialFailure(kind="out-of-memory", phase="load", message="no room", held_bytes=GIB, wanted_bytes=GIB // 2))
    'no room; 1.00 GiB were held and 512.0 MiB more asked for, which makes 1.50 GiB'
    """
    held, wanted = failure.held_bytes, failure.wanted_bytes
    if held is None or wanted is None:
        return failure.message
    sum_ = format_bytes(held + wanted)
    return f"{failure.message}; {format_bytes(held)} were held and {format_bytes(wanted)} more asked for, which makes {sum_}"


def kernel_kills(vmstat: Path = VMSTAT) -> int | None:
    """How many processes the kernel has killed for want of memory since it started, those at the limit of a container included.

    None where it does not say: Linux counts them since 4.13.
    """
    try:
        lines = vmstat.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(counts[0]) if counts and counts[0].isdigit() else None


def _size(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    return round(float(found[1].rstrip(".")) * UNITS[(found[2] or "bytes").casefold()])
