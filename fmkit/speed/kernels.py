"""What a device does natively: the kernel a layout of weights runs in, its peak rate, and the kind of memory it is fed from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fmkit.model.quantised.loading import unpacks
from fmkit.sizing.formats import narrow_float

if TYPE_CHECKING:
    from fmkit.machine import Device
    from fmkit.model.precision import Layout

Kernel = Literal["32", "16", "fp8", "int8", "int4", "bnb8", "bnb4", "mxfp4", "nvfp4", "q8", "q4"]
"""How weights are multiplied: by width, and by the family of kernels (`q8` and `q4` are llama.cpp's block formats,
`bnb8` and `bnb4` those of bitsandbytes, which unpack before they multiply)."""

WEIGHTS_NAMED = {
    "32": "32-bit", "16": "16-bit", "fp8": "FP8", "int8": "8-bit", "int4": "4-bit", "bnb8": "LLM.int8", "bnb4": "nf4", "mxfp4": "MXFP4",
    "nvfp4": "NVFP4", "q8": "8-bit block", "q4": "2- to 6-bit block",
}  # fmt: skip
"""What weights of a kernel are called."""

MemoryGroup = Literal["hbm", "gddr", "apple", "unified", "cpu"]
"""Kinds of memory that reach different shares of their nominal bandwidth."""

FIRST_TENSOR_CORES = 2018
"""GeForce cards from this year on have matrix units, at half the rate where they accumulate in float32."""

BLOCKS_OVER_VECTOR = 2.0
"""Operations a second of llama.cpp's block formats over those of float32 on a processor: the least that its 8-bit products gain. Newer ones multiply four
or eight times as much at once and gain far less: processors with AVX2 alone read at 0.16 to 0.26 of this rate, those with 8-bit dot products at 0.26 to
0.46, those with i8mm at 0.26 to 0.70 (catalog/measurements/published_cpu.csv, prompts of 128 to 512 tokens)."""

NEEDS_UNITS = {"fp8": "float8", "nvfp4": "float4"}
"""The number format whose matrix units a kernel is made for."""


def kernel_of(layout: Layout) -> Kernel:
    """The family of kernels that multiplies weights in this layout."""
    if layout.file_type is not None:
        return _ggml_kernel(layout.file_type)
    if unpacks(layout):
        return "16"
    named = narrow_float(layout)
    if named is not None:
        return named
    if layout.weight_bits is None:
        return "32" if layout.rest_dtype == "float32" else "16"
    if layout.id.startswith("bnb"):
        return "bnb8" if layout.weight_bits > 4 else "bnb4"
    return "int8" if layout.weight_bits > 4 else "int4"


def _ggml_kernel(file_type: str) -> Kernel:
    if "MXFP4" in file_type:
        return "mxfp4"
    if file_type in ("F16", "BF16"):
        return "16"
    if file_type == "F32":
        return "32"
    return "q8" if file_type.startswith("Q8") else "q4"


def memory_group(device: Device) -> MemoryGroup:
    """The kind of memory that a device reads weights from."""
    kind = (device.memory_kind or "").upper()
    if device.device_class == "cpu":
        return "cpu"
    if device.unified_memory or "LPDDR" in kind:
        return "apple" if device.vendor == "apple" else "unified"
    return "hbm" if "HBM" in kind else "gddr"


def matrix_rate(device: Device, kernel: Kernel, engine: str) -> float | None:
    """Dense peak operations per second of the kernel on the device, one definition per kernel; None where it is unknown.

    Weight-only formats are computed in 16 bit, MXFP4 among them: vLLM unpacks it on Hopper, and on Blackwell too unless told otherwise.
    llama.cpp multiplies its block formats as int8 on NVIDIA cards, and 16-bit weights
    with 16-bit accumulation, for which a GeForce has twice the rate that the catalog states (float32 accumulation). On a processor its kernels
    are held against the nominal rate of the vector units, where that is known.
    """
    rates = device.flops_per_s
    if engine == "llama.cpp" and device.device_class == "cpu" and "vector" in rates:
        return rates["vector"] * (1 if kernel in ("16", "32") else BLOCKS_OVER_VECTOR)
    half = max(rates.get("float16", 0.0), rates.get("bfloat16", 0.0)) or None
    if kernel == "32":
        return rates.get("float32")
    if kernel == "fp8":
        return rates.get("float8") or half
    if engine == "llama.cpp":
        return _ggml_rate(device, kernel, half)
    if kernel == "nvfp4":
        return rates.get("float4") or half
    return half


def multiplies_in_int8(device: Device, kernel: Kernel, engine: str) -> bool:
    """Whether llama.cpp multiplies block formats by 8-bit units that are faster than those of 16 bit: what it reaches of them is another share."""
    half = max(device.flops_per_s.get("float16", 0.0), device.flops_per_s.get("bfloat16", 0.0))
    faster = device.flops_per_s.get("int8", 0.0) > half
    return engine == "llama.cpp" and kernel in ("q8", "q4") and device.vendor == "nvidia" and faster


def _ggml_rate(device: Device, kernel: Kernel, half: float | None) -> float | None:
    """What llama.cpp's kernels are measured against, `half` being the stated 16-bit rate."""
    if device.vendor != "nvidia" or half is None:
        return half
    if kernel != "16":
        return max(device.flops_per_s.get("int8", 0.0), half)
    doubled = device.device_class == "consumer" and (device.release_year or 0) >= FIRST_TENSOR_CORES
    return half * (2 if doubled else 1)


def not_native(device: Device, kernel: Kernel, dtype: str, engine: str) -> str | None:
    """What the device has no units for, in words; None where it has them or nothing is known of its rates.

    `dtype` is the type of what is not quantised, which is computed in. vLLM takes float16 where the device has no bfloat16
    (`_resolve_auto_dtype` of its vllm/config/model.py); llama.cpp computes in types of its own.
    """
    rates = device.flops_per_s
    if not rates:
        return None
    wanted = NEEDS_UNITS.get(kernel)
    if wanted is not None and wanted not in rates:
        return f"{device.name} has no {wanted} matrix units: weights are unpacked and multiplied in 16 bit"
    if dtype == "bfloat16" and device.vendor == "nvidia" and "bfloat16" not in rates and engine != "llama.cpp":
        instead = (
            "vLLM computes in float16 instead"
            if engine == "vllm"
            else "PyTorch emulates it slowly; load the model in float16"
        )
        return f"{device.name} has no bfloat16 units: {instead}"
    return None


def emulated(device: Device, kernel: Kernel, engine: str) -> bool:
    """Whether an engine unpacks the weights of this kernel for each product for want of one on the device: nobody measured how slow that is.

    On AMD's cards that is so of NVFP4 (vllm-project/vllm#35733), and in vLLM of MXFP4 on those that are no Instinct: Radeon and processors with graphics
    (vllm-project/vllm#46676, kyuz0/amd-strix-halo-vllm-toolboxes#10: 8 tokens/s of gpt-oss-120b).
    """
    if device.vendor != "amd":
        return False
    return kernel == "nvfp4" or (kernel == "mxfp4" and engine == "vllm" and memory_group(device) != "hbm")
