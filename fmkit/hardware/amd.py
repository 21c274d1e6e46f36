"""AMD cards: rocm-smi or amd-smi where they are installed, else what the kernel's amdgpu driver shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from fmkit.hardware import amd_smi
from fmkit.hardware.pci_names import amd_name
from fmkit.hardware.probe import Found, read_text, run_tool, whole

DRM = Path("/sys/class/drm")
AMD_VENDOR_ID = "0x1002"
NAME_KEYS = ("Card Series", "Card series", "Device Name", "Card Model", "Card model")
SMALLEST_CARD_BYTES = 2 * 1024**3
"""Below this it is the share that an integrated GPU was given of the system's memory, not a card for models."""


def probe() -> list[Found]:
    """The AMD cards of this machine."""
    output = run_tool("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")
    found = parse(output) if output else []
    if not found and (static := run_tool(*amd_smi.STATIC)):
        found = _large(amd_smi.parse(static, run_tool(*amd_smi.USED) or ""))
    return found or from_sysfs(DRM)


def _large(cards: list[Found]) -> list[Found]:
    """Without the shares of the system's memory that processors' own graphics have."""
    return [card for card in cards if card.memory_bytes is not None and card.memory_bytes >= SMALLEST_CARD_BYTES]


def parse(output: str) -> list[Found]:
    """Cards in rocm-smi's JSON; its keys changed case between versions, its bytes are strings.

    >>> [card] = parse('{"card0": {"VRAM Total Memory (B)": "21458059264", "Card Series": "Radeon RX 7900 XT"}}')
    >>> card.name, card.memory_bytes
    ('Radeon RX 7900 XT', 21458059264)
    """
    start = output.find("{")  # warnings come before the object
    try:
        cards = msgspec.json.decode(output[start:].encode(), type=dict[str, dict[str, Any]]) if start >= 0 else {}
    except msgspec.DecodeError:
        return []
    ordered = sorted((card for card in cards if card.startswith("card")), key=_number)
    return [found for card in ordered if (found := _card(cards[card])) is not None]


def _card(facts: dict[str, Any]) -> Found | None:
    total = whole(str(facts.get("VRAM Total Memory (B)", "")))
    used = whole(str(facts.get("VRAM Total Used Memory (B)", "")))
    if total is None or total < SMALLEST_CARD_BYTES:
        return None
    stated = next((str(facts[key]) for key in NAME_KEYS if facts.get(key) and facts[key] != "N/A"), None)
    return Found(
        name=amd_name(str(facts.get("Card Model", "")), str(facts.get("Device Rev", "")), stated),
        vendor="amd",
        memory_bytes=total,
        free_bytes=None if used is None else total - used,
    )


def from_sysfs(drm: Path) -> list[Found]:
    """Cards of the amdgpu driver, which states the memory: they are known by their PCI ids, newer ones by a name."""
    found = []
    for device in sorted(drm.glob("card[0-9]*/device"), key=lambda path: _number(path.parent.name)):
        total = whole(read_text(device / "mem_info_vram_total"))
        if read_text(device / "vendor") != AMD_VENDOR_ID or total is None or total < SMALLEST_CARD_BYTES:
            continue
        used = whole(read_text(device / "mem_info_vram_used"))
        ids = (read_text(device / file) for file in ("device", "revision", "product_name"))
        name = amd_name(*ids)
        free = None if used is None else total - used
        found.append(Found(name=name, vendor="amd", memory_bytes=total, free_bytes=free))
    return found


def _number(name: str) -> int:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0
