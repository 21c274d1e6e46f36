"""The backends that llama.cpp is built with, and whose devices each runs on. Names are those of its docs/build.md.

Memory is taken to be the same for all of them: of what their contexts take nothing is published. Speed is not (`fmkit/speed/setting.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from fmkit.sizing.engines.plan import is_cpu

if TYPE_CHECKING:
    from fmkit.machine import Device, Machine

Backend = Literal["cuda", "vulkan", "hip", "rocwmma", "metal", "sycl", "cpu"]
"""`rocwmma` is HIP with flash attention of the rocWMMA library (GGML_HIP_ROCWMMA_FATTN), which the docs of later releases no longer name."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)

BACKENDS_NAMED: dict[Backend, str] = {
    "cuda": "CUDA", "vulkan": "Vulkan", "hip": "HIP (ROCm)", "rocwmma": "rocWMMA (HIP)", "metal": "Metal", "sycl": "SYCL", "cpu": "CPU",
}  # fmt: skip

ALSO_CALLED = {"rocm": "hip"}
"""What release files and logs call a backend."""

BY_VENDOR: dict[str, tuple[Backend, ...]] = {
    "nvidia": ("cuda", "vulkan"), "amd": ("vulkan", "hip", "rocwmma"), "intel": ("vulkan", "sycl"), "apple": ("metal",),
}  # fmt: skip
"""Backends for a vendor's devices; first what release files bring for them, which estimates are for unless another is asked for."""


NO_ROCM = frozenset(("rx-580",))
"""AMD devices that ROCm has no kernels for: gfx803 left its list of supported GPUs with release 4.5."""


def backends_of(device: Device | None) -> tuple[Backend, ...]:
    """The backends that compute on a device, the default first; on a processor (and where no device is known) the CPU's alone.

    >>> from fmkit.machine import Device
    >>> card = Device(id="x", name="X", vendor="amd", device_class="consumer", memory_bytes=1, bandwidth_bytes_per_s=None)
    >>> backends_of(card)
    ('vulkan', 'hip', 'rocwmma')
    """
    if device is None or device.device_class == "cpu":
        return ("cpu",)
    return tuple(name for name in BY_VENDOR.get(device.vendor, ()) if _has_kernels(name, device))


def _has_kernels(backend: Backend, device: Device) -> bool:
    """What of the vendor's devices a backend leaves out; unknown rates leave out nothing.

    The rocWMMA library is for matrix units: those of Instinct cards from gfx908 and Radeons from gfx11 on, which multiply bfloat16 too.
    """
    rates = device.flops_per_s
    no_matrix_units = backend == "rocwmma" and bool(rates) and "bfloat16" not in rates
    return not no_matrix_units and not (backend in ("hip", "rocwmma") and device.id in NO_ROCM)


def backend_on(machine: Machine | None, asked: Backend | None) -> Backend | None:
    """The backend that an estimate is for: the one asked for, else the default on the machine; None where that is not known."""
    if asked is not None:
        return asked
    return next(iter(_backends_on(machine) or ()), None)


def why_no_backend(machine: Machine | None, asked: Backend | None) -> str | None:
    """Why a backend does not compute on the machine, and which do; None where it does, where none was asked for, and for a bare size."""
    known = _backends_on(machine)
    if machine is None or known is None or asked is None or asked in known:
        return None
    valid = f"valid there: {', '.join(known)}" if known else "no backend for it is known"
    return f"{BACKENDS_NAMED[asked]} builds of llama.cpp do not compute on {machine.name}; {valid}"


def _backends_on(machine: Machine | None) -> tuple[Backend, ...] | None:
    """None for a bare size, of which any backend may be true."""
    if machine is None or (machine.device is None and not is_cpu(machine)):
        return None
    return backends_of(machine.device)
