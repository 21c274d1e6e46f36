"""Floats of fewer than 16 bits that weights are stored in, and the devices that no engine multiplies them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fmkit.model.quantised.loading import unpacks

if TYPE_CHECKING:
    from fmkit.machine import Device
    from fmkit.model.precision import Layout

NarrowFloat = Literal["fp8", "mxfp4", "nvfp4"]
NARROW_FLOATS: tuple[NarrowFloat, ...] = ("fp8", "mxfp4", "nvfp4")


def narrow_float(layout: Layout) -> NarrowFloat | None:
    """The format of the weights, by the word in the layout's id; None for others, for those that are unpacked, and for GGUF files."""
    if layout.file_type is not None or unpacks(layout):
        return None
    return next((name for name in NARROW_FLOATS if name in layout.id), None)


def why_no_kernel(layout: Layout, device: Device | None) -> str | None:
    """Why no engine multiplies weights in this layout on the device; None where one does, and for a bare size.

    vLLM has FP8 kernels for NVIDIA and AMD, none for processors (docs.vllm.ai/en/v0.14.0/features/quantization); NVFP4 has kernels on NVIDIA cards,
    and is emulated on AMD's since 0.20 (vllm-project/vllm#35733). transformers unpacks stored FP8 on a processor, and loads no NVFP4.
    """
    found = None if device is None else narrow_float(layout)
    if device is None or found is None:
        return None
    if device.device_class == "cpu" and found in ("fp8", "nvfp4"):
        return f"no engine multiplies {found.upper()} weights on a CPU"
    if found == "nvfp4" and device.vendor not in ("nvidia", "amd"):
        return f"NVFP4 weights run on NVIDIA cards, and emulated on AMD's, not on {device.name}"
    return None
