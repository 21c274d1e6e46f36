"""AMD cards: rocm-smi where it is installed, else what the kernel's amdgpu driver shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

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
    return found or from_sysfs(DRM)


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
    name = next((str(facts[key]) for key in NAME_KEYS if facts.get(key) and facts[key] != "N/A"), "AMD GPU")
    return Found(
        name=name,
        vendor="amd",
        memory_bytes=total,
        free_bytes=None if used is None else total - used,
    )


def from_sysfs(drm: Path) -> list[Found]:
    """Cards of the amdgpu driver; it states the memory, and the name only on newer cards."""
    found = []
    for device in sorted(drm.glob("card[0-9]*/device"), key=lambda path: _number(path.parent.name)):
        total = whole(read_text(device / "mem_info_vram_total"))
        if read_text(device / "vendor") != AMD_VENDOR_ID or total is None or total < SMALLEST_CARD_BYTES:
            continue
        used = whole(read_text(device / "mem_info_vram_used"))
        name = read_text(device / "product_name") or f"AMD GPU {read_text(device / 'device') or ''}".strip()
        free = None if used is None else total - used
        found.append(Found(name=name, vendor="amd", memory_bytes=total, free_bytes=free))
    return found


def _number(name: str) -> int:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0
