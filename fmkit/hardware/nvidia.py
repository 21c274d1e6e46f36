"""NVIDIA cards, through nvidia-smi."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fmkit.hardware.probe import Found, run_tool, whole
from fmkit.units import MIB

QUERY = "index,uuid,name,memory.total,memory.free,driver_version"


def probe() -> list[Found]:
    """The NVIDIA cards that a program started here may use."""
    output = run_tool("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits")
    return parse(output, os.environ) if output else []


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
