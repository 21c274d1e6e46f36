"""Memory of the NVIDIA devices as the driver counts it, through NVML. Unknown is None, never 0.

PyTorch's allocator does not see the CUDA context, loaded kernels and libraries; the driver does. NVML is loaded by ctypes, and
its calls are those of NVIDIA's NVML API reference (nvmlDeviceGetMemoryInfo, nvmlDeviceGetHandleByIndex_v2).
"""

from __future__ import annotations

import ctypes
import sys

LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
SUCCESS = 0


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def used_bytes(only: int | None = None) -> int | None:
    """Bytes in use on all NVIDIA devices together, or on that one, whoever uses them; None without a driver that says so."""
    try:
        nvml = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    if nvml.nvmlInit_v2() != SUCCESS:
        return None
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != SUCCESS:
            return None
        used = [_used(nvml, index) for index in range(count.value) if only in (None, index)]
    finally:
        nvml.nvmlShutdown()
    return None if not used or None in used else sum(one for one in used if one is not None)


def _used(nvml: ctypes.CDLL, index: int) -> int | None:
    handle, memory = ctypes.c_void_p(), _Memory()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != SUCCESS:
        return None
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != SUCCESS:
        return None
    return int(memory.used)
