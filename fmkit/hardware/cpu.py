"""The processor and main memory, as far as this process may use them: affinity and control groups count."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from fmkit.hardware.probe import PLATFORM, read_text, run_tool, whole
from fmkit.units import KIB

CGROUP_ROOT = Path("/sys/fs/cgroup")
NO_LIMIT_BYTES = 2**60
"""Control groups of version 1 write a number near 2**63 where there is no limit."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The computer without its accelerators; `limited_by` says what keeps memory below what is built in.

    `numa_nodes` counts the memories that this process may take from: several are slower together than their sum (cpuset included).
    """

    name: str
    cores: int | None
    memory_bytes: int | None
    free_bytes: int | None
    limited_by: str | None = None
    formats: tuple[str, ...] = ()
    threads_per_core: int = 1
    numa_nodes: int | None = None


def probe() -> Host:
    """This computer's processor and memory."""
    if PLATFORM == "linux":
        return _linux(Path("/proc"), CGROUP_ROOT)
    if PLATFORM == "darwin":
        name = (run_tool("sysctl", "-n", "machdep.cpu.brand_string") or "").strip()
        memory_bytes = whole(run_tool("sysctl", "-n", "hw.memsize"))
        return Host(name=name or "CPU", cores=os.cpu_count(), memory_bytes=memory_bytes, free_bytes=None)
    return Host(name="CPU", cores=os.cpu_count(), memory_bytes=None, free_bytes=None)


def _linux(proc: Path, cgroup_root: Path) -> Host:
    total, free = parse_meminfo(read_text(proc / "meminfo") or "")
    groups = group_folders(read_text(proc / "self" / "cgroup") or "", cgroup_root)
    limit, used = memory_limit(groups)
    limited_by = None
    if limit is not None and (total is None or limit < total):
        total, limited_by = limit, "the memory limit of this container or control group"
        room = None if used is None else max(0, limit - used)
        free = min((size for size in (free, room) if size is not None), default=None)
    quota = cpu_quota(groups)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if quota is not None and (cores is None or quota < cores):
        cores = quota
    cpuinfo = read_text(proc / "cpuinfo") or ""
    return Host(
        name=parse_cpuinfo(cpuinfo),
        cores=cores,
        memory_bytes=total,
        free_bytes=free,
        limited_by=limited_by,
        formats=parse_formats(cpuinfo),
        threads_per_core=parse_threads_per_core(cpuinfo),
        numa_nodes=parse_nodes(read_text(proc / "self" / "status") or ""),
    )


def parse_meminfo(text: str) -> tuple[int | None, int | None]:
    r"""Total and available bytes in /proc/meminfo, which writes kB and means KiB.

    >>> parse_meminfo("MemTotal:       24684100 kB\nMemAvailable:   24236312 kB")
    (25276518400, 24817983488)
    """
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    total, available = whole(sizes.get("MemTotal")), whole(sizes.get("MemAvailable"))
    return (None if total is None else total * KIB), (None if available is None else available * KIB)


def parse_cpuinfo(text: str) -> str:
    """The processor's name in /proc/cpuinfo; "CPU" where it states none (ARM)."""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else "CPU"


def parse_threads_per_core(text: str) -> int:
    r"""Threads that run on one core at once, by what /proc/cpuinfo says of a socket; 1 where it says nothing (ARM).

    >>> parse_threads_per_core("siblings\t: 32\ncpu cores\t: 16"), parse_threads_per_core("Features : asimd")
    (2, 1)
    """
    siblings, cores = (
        whole(match[1]) if (match := re.search(rf"^{key}\s*:\s*(\d+)$", text, re.MULTILINE)) else None
        for key in ("siblings", "cpu cores")
    )
    return max(1, siblings // cores) if siblings and cores else 1


def parse_formats(text: str) -> tuple[str, ...]:
    """Formats with matrix or dot-product instructions of their own, by the flags in /proc/cpuinfo.

    >>> parse_formats("flags : fpu avx2 avx512f avx512_bf16")
    ('float32', 'bfloat16')
    """
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    has = {"float32": flags & {"avx2", "avx512f", "asimd"}, "bfloat16": flags & {"avx512_bf16", "amx_bf16", "bf16"}}
    return tuple(name for name, found in has.items() if found)


def parse_nodes(status: str) -> int | None:
    r"""Memory nodes in the list that /proc/self/status allows.

    >>> parse_nodes("Cpus_allowed_list:\t0-15\nMems_allowed_list:\t0-1,3\n"), parse_nodes("")
    (3, None)
    """
    match = re.search(r"^Mems_allowed_list:\s*([\d,-]+)$", status, re.MULTILINE)
    if match is None:
        return None
    spans = [span.partition("-") for span in match[1].split(",") if span]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans)


def group_folders(proc_self_cgroup: str, root: Path) -> list[Path]:
    """Folders of the control groups that bind this process, of version 2 (`0::/a/b`) and version 1 (`4:memory:/a`).

    A group's parents bind it too. In a container the path may not be visible; then its root is the group itself.
    """
    folders: list[Path] = []
    for line in proc_self_cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        bases = [root] if not controllers else [root / controllers]
        if not controllers:
            bases.append(root / "unified")
        for base in bases:
            parts = [part for part in path.split("/") if part and part != ".."]
            folders.extend(base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def memory_limit(groups: list[Path]) -> tuple[int | None, int | None]:
    """The tightest memory limit of the groups and what is used of it and can't be dropped, in bytes; None where there is none."""
    limits = []
    for group in groups:
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = whole(read_text(group / limit_file))
            if limit is not None and limit < NO_LIMIT_BYTES:
                used = whole(read_text(group / used_file))
                limits.append((limit, None if used is None else max(0, used - _droppable_bytes(group))))
    return min(limits, key=lambda pair: pair[0], default=(None, None))


def _droppable_bytes(group: Path) -> int:
    """Pages of files that nobody used of late: they count as used, and make room for whoever asks.

    What Kubernetes subtracts for a container's working set. Version 1 states a group's own and, as `total_`, those of all below it.
    """
    sizes = dict(re.findall(r"^(\w+) (\d+)$", read_text(group / "memory.stat") or "", re.MULTILINE))
    return whole(sizes.get("total_inactive_file", sizes.get("inactive_file"))) or 0


def cpu_quota(groups: list[Path]) -> int | None:
    """Whole cores that the tightest CPU quota of the groups allows, at least 1; None where there is none."""
    quotas = []
    for group in groups:
        both = (read_text(group / "cpu.max") or "").split()
        if not both:
            both = [read_text(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        quota, period = (whole(text) for text in both) if len(both) == 2 else (None, None)
        if quota and period:
            quotas.append(max(1, quota // period))
    return min(quotas, default=None)
