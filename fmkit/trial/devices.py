"""What PyTorch can tell of each kind of device, and the few calls a trial makes on one.

`cuda` stands for NVIDIA's CUDA and for AMD's ROCm, whose builds of PyTorch use the same names. On a CPU and on Apple's `mps` there
is no allocator that keeps its peak: there every operation is watched (fmkit/trial/tracker.py).
"""

from __future__ import annotations

from typing import Any

import torch

from fmkit.errors import UsageError

WITH_PEAKS = ("cuda", "xpu")
"""Devices whose allocator keeps the most it held."""

NEVER_RUN = ("mps", "xpu")
"""Devices that no trial of ours has run on: what they report was never held against anything."""

BUILDS = {
    "cuda": "a PyTorch built for CUDA, or for ROCm on an AMD card, and its driver",
    "mps": "macOS on Apple silicon, and a PyTorch built for it",
    "xpu": "a PyTorch built for Intel GPUs, and their driver",
}
"""What each kind of device needs."""


def require(device: str) -> None:
    """UsageError where this PyTorch sees no device of the kind."""
    if device == "cpu" or is_there(device):
        return
    raise UsageError(
        f"this PyTorch ({torch.__version__}) sees no {device} device: it takes {BUILDS[device]}",
        where="--device",
        next_command="fmkit hardware show",
    )


def is_there(device: str) -> bool:
    """Whether PyTorch sees a device of the kind. A build without one may lack the name altogether."""
    found = torch.backends.mps if device == "mps" else getattr(torch, device, None)
    return found is not None and bool(found.is_available())


def described(device: str) -> str:
    """The device in words: its name, where the driver gives one."""
    if device == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    if device == "mps":
        return "Apple GPU (Metal)"
    name = str(getattr(torch, device).get_device_name())
    return f"{name} (ROCm {torch.version.hip})" if device == "cuda" and torch.version.hip else name


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device != "cpu":
        getattr(torch, device).synchronize()


def give_back(device: str) -> None:
    """Return to the driver what the allocator keeps unused."""
    if device != "cpu":
        getattr(torch, device).empty_cache()


def over_all(device: str, figure: str) -> int:
    """A figure of the allocator (`memory_allocated`, `max_memory_reserved`, ...), summed over the devices of the kind."""
    backend: Any = getattr(torch, device)
    return sum(int(getattr(backend, figure)(index)) for index in range(backend.device_count()))


def forget_peaks(device: str) -> None:
    """Let the peaks of a device that keeps them be what it holds now."""
    backend: Any = getattr(torch, device)
    for index in range(backend.device_count()):
        backend.reset_peak_memory_stats(index)
