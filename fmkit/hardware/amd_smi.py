"""AMD cards as amd-smi describes them, which takes the place of rocm-smi."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from fmkit.hardware.pci_names import amd_name
from fmkit.hardware.probe import Found
from fmkit.units import MIB

STATIC = ("amd-smi", "static", "--asic", "--vram", "--json")
USED = ("amd-smi", "metric", "--mem-usage", "--json")


class _Amount(msgspec.Struct, frozen=True):
    value: int
    unit: str


class _Asic(msgspec.Struct, frozen=True):
    market_name: str = ""
    device_id: str | None = None
    rev_id: str | None = None


class _Memory(msgspec.Struct, frozen=True):
    size: _Amount | str = "N/A"


class _Card(msgspec.Struct, frozen=True):
    gpu: int
    asic: _Asic | str = "N/A"
    vram: _Memory | str = "N/A"


class _MemoryUsage(msgspec.Struct, frozen=True):
    used_vram: _Amount | str = "N/A"


class _Usage(msgspec.Struct, frozen=True):
    gpu: int
    mem_usage: _MemoryUsage | str = "N/A"


Part = TypeVar("Part", _Card, _Usage)


def parse(static: str, used: str) -> list[Found]:
    """Cards in the answers to STATIC and USED; what a card does not say is `N/A`, and its MB are MiB.

    >>> size = '{"size": {"value": 32704, "unit": "MB"}}'
    >>> [card] = parse(f'[{{"gpu": 0, "asic": {{"market_name": "AMD Radeon AI PRO R9700"}}, "vram": {size}}}]', "")
    >>> card.name, card.memory_bytes
    ('AMD Radeon AI PRO R9700', 34292629504)
    """
    taken = {
        one.gpu: _bytes(one.mem_usage.used_vram)
        for one in _cards(used, _Usage)
        if isinstance(one.mem_usage, _MemoryUsage)
    }
    found = []
    for card in _cards(static, _Card):
        memory_bytes = _bytes(card.vram.size) if isinstance(card.vram, _Memory) else None
        asic = card.asic if isinstance(card.asic, _Asic) else _Asic()
        if memory_bytes is not None:
            used_bytes = taken.get(card.gpu)
            found.append(
                Found(
                    name=amd_name(asic.device_id, asic.rev_id, asic.market_name),
                    vendor="amd",
                    memory_bytes=memory_bytes,
                    free_bytes=None if used_bytes is None else memory_bytes - used_bytes,
                )
            )
    return found


def _cards(output: str, part: type[Part]) -> list[Part]:
    """The list that amd-smi prints, under `gpu_data` in later releases; warnings may stand before it."""
    start = re.search(r"^[\[{]", output, re.MULTILINE)
    content = output[start.start() :] if start else "[]"
    try:
        if content.startswith("{"):
            return msgspec.json.decode(content, type=dict[str, list[part]]).get("gpu_data", [])  # type: ignore[valid-type]  # a type at run time
        return msgspec.json.decode(content, type=list[part])  # type: ignore[valid-type]
    except msgspec.MsgspecError:
        return []


def _bytes(amount: _Amount | str) -> int | None:
    return amount.value * MIB if isinstance(amount, _Amount) and amount.unit == "MB" else None
