"""The backend of llama.cpp that a row of measured speed was taken with, as the row tells it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.sizing.engines.llama_cpp_backends import backends_of
from fmkit.speed.setting import FLASH, FLASH_MEASURED

if TYPE_CHECKING:
    from fmkit.catalog.measurements import LatencyMeasurement
    from fmkit.machine import Device

CALLED = {"rocm": "hip", "xpu": "sycl", "vulkan_amdvlk": "vulkan", "vulkan_radv": "vulkan"}
"""What rows call a backend; of Vulkan some name the driver."""


def build_of(row: LatencyMeasurement) -> str | None:
    """llama.cpp's build as far as a row tells it: it decides more than the device does."""
    named = re.search(r"'build': '([^']+)'", row.notes)
    flash = FLASH if "flash_attn=True" in row.notes else ""
    name = named[1].removeprefix("llama.cpp-") if named else row.backend
    return f"{name}{flash}" if name else None


def backend_options(row: LatencyMeasurement, device: Device | None) -> dict[str, str]:
    """The engine options that ask for a row's build; none where it names none, or one that the device is not known to run."""
    name, flash, _ = (build_of(row) or "").partition(FLASH)
    name = CALLED.get(name, name)
    if name == "rocwmma" and not flash:
        name = "hip"
    if name not in backends_of(device):
        return {}
    told = {"flash_attention": "on" if flash else "off"} if name in FLASH_MEASURED else {}
    return {"backend": name, **told}
