"""NVIDIA cards, through nvidia-smi."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

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
        return instances(output, listing, run_tool("nvidia-smi") or "", os.environ)
    return parse(output, os.environ)


def parse(output: str, environment: Mapping[str, str]) -> list[Found]:
    """Cards in the answer to QUERY; memory is in MiB, and `[N/A]` on boards that share the system's memory.

    CUDA_VISIBLE_DEVICES narrows the list, as it does for CUDA programs: indices or starts of UUIDs, ended by the first
    entry that names no card.

    >>> [card] = parse("0, GPU-5f1c, NVIDIA GeForce RTX 4090, 24564, 22516, 550.54.14", {})
    >>> card.name, card.memory_bytes
    ('NVIDIA GeForce RTX 4090', 25757220864)
    """
    cards, visible = _cards(output), environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [card.found() for card in cards]
    chosen: list[Found] = []
    for entry in visible.split(","):
        card = next((card for card in cards if card.answers_to(entry.strip())), None)
        if card is None:
            break
        chosen.append(card.found())
    return chosen


def instances(output: str, listing: str, table: str, environment: Mapping[str, str]) -> list[Found]:
    """What a CUDA program may use where a card is cut into MIG instances: one instance, or the whole cards that are named.

    `output` answers QUERY, `listing` is what `nvidia-smi -L` prints, `table` what `nvidia-smi` does: names and UUIDs of instances are in
    the one, their memory in the other. CUDA shows a program one instance, and no whole card beside it (NVIDIA's MIG user guide, "CUDA
    Device Enumeration"). It is the first one, or what CUDA_VISIBLE_DEVICES names: an instance by its UUID, a card by index or UUID, which
    is the whole card, or its first instance where it is cut.
    """
    found, cards = _instances(listing, table), _cards(output)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [one.found for one in found][:1]
    chosen: list[Found] = []
    for entry in visible.split(","):
        cut = _named_instance(entry.strip(), found, cards)
        if cut is not None:
            return [cut.found]
        card = next((card for card in cards if card.answers_to(entry.strip())), None)
        if card is None:
            break
        chosen.append(card.found())
    return chosen


class _Instance(NamedTuple):
    """One MIG instance: the index of its card, its own UUID, and what it is."""

    card: str
    uuid: str
    found: Found


def _named_instance(entry: str, found: list[_Instance], cards: list[_Card]) -> _Instance | None:
    """The instance that an entry of CUDA_VISIBLE_DEVICES means: by its own UUID, or the first of a card that is cut."""
    if entry.startswith("MIG-"):
        return next((one for one in found if one.uuid.startswith(entry)), None)
    card = next((card for card in cards if card.answers_to(entry)), None)
    return None if card is None else next((one for one in found if one.card == card.index), None)


def _instances(listing: str, table: str) -> list[_Instance]:
    """Instances in the order of cards and of devices on a card."""
    memory = {
        (card, device): (int(used) * MIB, int(total) * MIB) for card, device, used, total in _MIG_MEMORY.findall(table)
    }
    found: list[_Instance] = []
    card, name = "", ""
    for line in listing.splitlines():
        if match := _LISTED_CARD.match(line):
            card, name = match[1], match[2]
        elif match := _LISTED_INSTANCE.match(line):
            used, total = memory.get((card, match[2]), (None, None))
            free = None if total is None or used is None else total - used
            instance = Found(name=f"{name} MIG {match[1]}", vendor="nvidia", memory_bytes=total, free_bytes=free)
            found.append(_Instance(card, match[3], instance))
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


def _cards(output: str) -> list[_Card]:
    """The lines of the answer to QUERY that describe a card."""
    rows = [[field.strip() for field in line.split(",")] for line in output.splitlines()]
    return [_Card(row) for row in rows if len(row) == len(QUERY.split(","))]
