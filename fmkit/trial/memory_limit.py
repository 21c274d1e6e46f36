"""A limit on the memory of a trial that holds: what the kernel, PyTorch and a watching parent can each do about it.

What each counts, on a CPU:

- `cgroup`: all memory of the processes, shared memory and the kernel's own included. Pages of mapped files can be dropped and read
  again, so that they slow a trial down instead of ending it. Made by systemd-run, where a user's services may have such limits.
- `rlimit-data`: private memory, also what was asked for and not touched yet. An allocation too many fails at once, with its size. Weights
  that are mapped to be read only (llama.cpp's) are not counted; those of safetensors files, which PyTorch maps privately, are.
- `watch`: resident memory, mapped files included. Between two looks some 50 MB can be written; pages of a file that the system had in
  memory already come faster, and take none.

The last two hold together: the first stops what would grow past the limit, the second what the first does not see.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fmkit.errors import MissingExtraError
from fmkit.results.trial import MemoryLimit
from fmkit.trial import process_memory
from fmkit.trial.processes import ProcessFamily

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from fmkit.trial.request import TrialOutcome, TrialRequest

PROBE_S = 5.0
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

COVERS = {
    "cgroup": "all memory of the trial's processes, counted by the kernel",
    "rlimit-data": "private memory, refused by the kernel",
    "watch": "resident memory with mapped files, looked at every 10 ms",
    "cuda-allocator": "what PyTorch allocates on each device, without the CUDA context and libraries, and not main memory",
}
"""What each means counts, for people."""


def limit_as_held(request: TrialRequest, outcome: TrialOutcome) -> MemoryLimit | None:
    """The limit that a trial ran under and what held it, the strongest means first; None for a trial without."""
    if request.limit_bytes is None:
        return None
    means = {*outcome.limit_means, *(["watch"] if request.device == "cpu" else [])}
    ordered = tuple(name for name in COVERS if name in means)
    return MemoryLimit(
        limit_bytes=request.limit_bytes, means=ordered, covers="; ".join(COVERS[name] for name in ordered)
    )


def command_prefix(limit_bytes: int) -> list[str]:
    """What to write before a command so that systemd runs it in a cgroup with the limit; nothing where it can't."""
    program = shutil.which("systemd-run")
    if program is None or sys.platform == "win32":
        return []
    owner = [] if os.geteuid() == 0 else ["--user"]
    limits = ["-p", f"MemoryMax={limit_bytes}", "-p", "MemorySwapMax=0"]
    command = [program, *owner, "--scope", "--quiet", "--collect", *limits, "--"]
    try:
        done = subprocess.run(  # noqa: S603  found on the PATH, and no shell
            [*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return command if done.returncode == 0 else []


def require_watch() -> None:
    """Refuse a limit where the memory of another process can't be read; MissingExtraError says what reads it."""
    if ProcessFamily([os.getpid()]).resident_bytes() is None:
        raise MissingExtraError.for_extra("try", "--limit-memory on this system", "psutil")


def hold(limit_bytes: int, device: str) -> tuple[str, ...]:
    """Hold this process to the limit from now on, as far as it can itself; the means that do, the kernel's cgroup included.

    To be called after the warm-up: libraries map more than they touch, and that is no memory. On a device PyTorch's allocator is limited.
    """
    if device == "cuda":
        _limit_allocator(limit_bytes)
        return ("cuda-allocator",)
    return (
        *(["cgroup"] if in_cgroup(limit_bytes) else []),
        *(["rlimit-data"] if _limit_private(limit_bytes) else []),
    )


def in_cgroup(limit_bytes: int, own: Path = OWN_CGROUP, root: Path = CGROUPS) -> bool:
    """Whether this process is in a cgroup (version 2) that has this limit."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
        path = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        set_bytes = int((root / path / "memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError, StopIteration):  # "max" is no number
        return False
    return limit_bytes - os.sysconf("SC_PAGE_SIZE") < set_bytes <= limit_bytes  # the kernel counts whole pages


def _limit_private(limit_bytes: int) -> bool:
    """Let private memory grow by what is left to the limit, and no further (getrlimit(2), RLIMIT_DATA; Linux counts mappings since 4.7)."""
    resident, private = process_memory.resident_bytes(), process_memory.private_bytes()
    if sys.platform != "linux" or resident is None or private is None:
        return False
    most = private + max(0, limit_bytes - resident)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        return True
    return False


def _limit_allocator(limit_bytes: int) -> None:
    import torch  # noqa: PLC0415  in the child only

    for index in range(torch.cuda.device_count()):
        share = limit_bytes / torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), index)
