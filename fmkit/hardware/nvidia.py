"""NVIDIA cards, through nvidia-smi."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from fmkit.hardware.probe import Found, run_tool, whole
from fmkit.units import MIB

QUERY = "index,uuid,name,memory.total,memory.free,driver_version"


def probe() -> list[Found]:
    """The NVIDIA cards that a program started here may use."""
    output = run_tool("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits")
    if not output:
        return []
    listing = run_tool("nvidia-smi", "-L") or ""
    if "MIG" in listing:  # older drivers don't know the field mig.mode.current, so it is not asked for
        return instances(listing, run_tool("nvidia-smi") or "", os.environ)
    return parse(output, os.environ)


def parse(output: str, environment: Mapping[str, str]) -> list[Found]:
    """Cards in the answer to QUERY; memory is in MiB, and `[N/A]` on boards that share the system's memory.

    CUDA_VISIBLE_DEVICES narrows the list, as it does for CUDA programs: indices or starts of UUIDs, ended by the first
    entry that names no card.

    >>> [card] = parse("0, GPU-5f1c, NVIDIA GeForce RTX 4090, 24564, 22516, 550.54.14", {})
    >>> card.name, card.memory_bytes
    ('NVIDIA GeForce RTX 4090', 25757220864)
    """
    rows = [[field.strip() for field in line.split(",")] for line in output.splitlines()]
    cards = [_Card(row) for row in rows if len(row) == len(QUERY.split(","))]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [card.found() for card in cards]
    chosen: list[Found] = []
    for entry in visible.split(","):
        card = next((card for card in cards if card.answers_to(entry.strip())), None)
        if card is None:
            break
        chosen.append(card.found())
    return chosen


def instances(listing: str, table: str, environment: Mapping[str, str]) -> list[Found]:
    """What a CUDA program may use where cards are cut into MIG instances: one instance, whatever there are.

    `listing` is what `nvidia-smi -L` prints, `table` what `nvidia-smi` does: names and UUIDs are in the one, memory in the other. The
    first instance is taken, or the one that CUDA_VISIBLE_DEVICES names by its UUID; a whole card in it, by index or UUID, is a card.
    """
    found = _instances(listing, table)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [one for _, one in found][:1]
    first = visible.split(",")[0].strip()
    return [one for uuid, one in found if first.startswith("MIG-") and uuid.startswith(first)][:1]


def _instances(listing: str, table: str) -> list[tuple[str, Found]]:
    """UUIDs and instances, in the order of cards and of devices on a card."""
    memory = {
        (int(card), int(device)): (int(used) * MIB, int(total) * MIB)
        for card, device, used, total in _MIG_MEMORY.findall(table)
    }
    found: list[tuple[str, Found]] = []
    card, name = -1, ""
    for line in listing.splitlines():
        if match := _LISTED_CARD.match(line):
            card, name = int(match[1]), match[2]
        elif match := _LISTED_INSTANCE.match(line):
            used, total = memory.get((card, int(match[2])), (None, None))
            free = None if total is None or used is None else total - used
            instance = Found(name=f"{name} MIG {match[1]}", vendor="nvidia", memory_bytes=total, free_bytes=free)
            found.append((match[3], instance))
    return found


_LISTED_CARD = re.compile(r"GPU (\d+): (.+?) \(UUID: GPU-")
_LISTED_INSTANCE = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")
_MIG_MEMORY = re.compile(r"^\|\s+(\d+)\s+\d+\s+\d+\s+(\d+)\s+\|\s+(\d+)MiB /\s*(\d+)MiB", re.MULTILINE)
"""Of the table of MIG devices: card, GPU instance, compute instance, device, and memory used and in all."""


class _Card:
    """One line of the answer."""

    def __init__(self, row: list[str]) -> None:
        self.index, self.uuid, self.name, self.total, self.free, self.driver = row

    def answers_to(self, entry: str) -> bool:
        """Whether an entry of CUDA_VISIBLE_DEVICES means this card."""
        return entry == self.index or (entry.startswith("GPU-") and self.uuid.startswith(entry))

    def found(self) -> Found:
        total_mib, free_mib = whole(self.total), whole(self.free)
        return Found(
            name=self.name,
            vendor="nvidia",
            memory_bytes=None if total_mib is None else total_mib * MIB,
            free_bytes=None if free_mib is None else free_mib * MIB,
            unified_memory=total_mib is None,
            driver=self.driver or None,
        )
