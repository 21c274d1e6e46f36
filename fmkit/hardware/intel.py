"""Intel discrete GPUs, as far as the kernel's drivers describe them: xe states the memory, i915 does not."""

from __future__ import annotations

from pathlib import Path

from fmkit.hardware.pci_names import intel_name
from fmkit.hardware.probe import Found, read_text, whole

DRM = Path("/sys/class/drm")
INTEL_VENDOR_ID = "0x8086"


def probe() -> list[Found]:
    """The Intel GPUs with memory of their own."""
    return from_sysfs(DRM)


def from_sysfs(drm: Path) -> list[Found]:
    """Cards whose driver states local memory; an integrated GPU has none and is left to the CPU probe."""
    found = []
    for device in sorted(drm.glob("card[0-9]*/device")):
        if read_text(device / "vendor") != INTEL_VENDOR_ID:
            continue
        totals = [whole(read_text(path)) for path in sorted(device.glob("tile*/physical_vram_size_bytes"))]
        totals += [whole(read_text(device.parent / "lmem_total_bytes"))]
        total = sum(size for size in totals if size)
        if total:
            name = intel_name(read_text(device / "device"))
            found.append(Found(name=name, vendor="intel", memory_bytes=total))
    return found
