"""How people write the name of a device: the spellings of those of the catalog, and where one stands in a phrase."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.machine import Device

_COUNTS = {"two": 2, "dual": 2, "three": 3, "four": 4, "eight": 8, "sixteen": 16}
_DEVICE_NOISE = re.compile(
    r"\b(?:nvidia|geforce|amd|radeon|intel|apple|instinct|tensor core|gpu|\d+\s*gi?b)\b", re.IGNORECASE
)


def find_device(text: str, devices: Mapping[str, str]) -> tuple[re.Match[str], str] | None:
    """The longest device name in the text with its count, as `--gpu` takes it."""
    best: tuple[int, re.Match[str], str] | None = None
    for spelling, device in devices.items():
        loose = r"[\s-]*".join(re.escape(piece) for piece in re.split(r"[\s-]+", spelling.lower()) if piece)
        bare = spelling.split()[0].isdigit()  # "4090" alone may count anything: only "on a 4090" is a card
        before = r"(?:\b(?:on|with|for|using)\s+(?:(?:an?|my|the|one|this|our)\s+)?)" if bare else ""
        after = r"(?!\s*(?:[km]\b|tokens?|documents?|users?|requests?|context|gi?b\b))" if bare else ""
        match = re.search(
            rf"{before}(?:(?<![\w.])(\d+|{'|'.join(_COUNTS)})\s*x?\s+)?(?<![\w-]){loose}(?:s)?(?![\w-]){after}", text
        )
        if match is not None and (best is None or (-len(spelling), device) < (-best[0], best[2].partition(":")[0])):
            count = _COUNTS.get(match[1], match[1])
            best = (len(spelling), match, device if count is None else f"{device}:{count}")
    return None if best is None else (best[1], best[2])


def device_spellings(devices: Mapping[str, Device], aliases: Mapping[str, str]) -> dict[str, str]:
    """Spellings of devices: ids, names, aliases, and shortened ones such as `h100` or `m3 max`.

    A short spelling that several devices bear means the one with the least memory: what fits there fits them all.
    """
    spellings: dict[str, str] = {}
    for device_id, device in sorted(devices.items(), key=lambda item: (item[1].memory_bytes or 0, item[0])):
        bare = " ".join(_DEVICE_NOISE.sub(" ", device.name.lower()).replace(",", " ").split())
        parts = device_id.removeprefix("apple-").split("-")
        shorter = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
        for spelling in (bare, *shorter):
            if len(spelling) > 1 and any(char.isdigit() for char in spelling):
                spellings.setdefault(spelling, device_id)
        series = bare.split()
        if len(series) > 1 and series[0] in {"rtx", "gtx", "rx"} and series[1].isdigit():
            spellings.setdefault(" ".join(series[1:]), device_id)
    spellings.update({alias.lower(): device_id for alias, device_id in aliases.items()})
    for device_id, device in devices.items():
        spellings.update({device_id: device_id, device.name.lower(): device_id})
    return spellings
