"""Apple silicon: one chip, one memory for CPU and GPU."""

from __future__ import annotations

import re

from fmkit.hardware.probe import PLATFORM, Found, run_tool, whole

KEYS = ("machdep.cpu.brand_string", "hw.memsize")


def probe() -> list[Found]:
    """The chip of a Mac with Apple silicon."""
    if PLATFORM != "darwin":
        return []
    found = parse(run_tool("sysctl", *KEYS) or "", run_tool("vm_stat") or "")
    return [] if found is None else [found]


def parse(sysctl: str, vm_stat: str) -> Found | None:
    r"""The chip that sysctl names; None on an Intel Mac.

    >>> parse("machdep.cpu.brand_string: Apple M2 Pro\nhw.memsize: 17179869184", "").memory_bytes
    17179869184
    """
    facts = dict(line.split(": ", 1) for line in sysctl.splitlines() if ": " in line)
    name = facts.get(KEYS[0], "")
    memory_bytes = whole(facts.get(KEYS[1]))
    if not name.startswith("Apple ") or memory_bytes is None:
        return None
    return Found(
        name=name,
        vendor="apple",
        memory_bytes=memory_bytes,
        free_bytes=free_bytes(vm_stat),
        unified_memory=True,
    )


def free_bytes(vm_stat: str) -> int | None:
    """Memory that can be had at once: free, inactive, speculative and purgeable pages of vm_stat."""
    page = re.search(r"page size of (\d+) bytes", vm_stat)
    pages = re.findall(r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)\.", vm_stat, re.MULTILINE)
    return int(page[1]) * sum(map(int, pages)) if page and pages else None
