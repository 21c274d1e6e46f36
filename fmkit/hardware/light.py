"""Memory bandwidth of the processor without torch: plain library calls over buffers that no cache holds, one thread per core.

`ctypes` lets go of the interpreter's lock during a call, so that the threads really run side by side.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from fmkit.machine import Machine
from fmkit.units import MIB

BUFFER_BYTES = 64 * MIB
"""Per thread and buffer: beyond the last cache of a desktop, and of a server's share per core."""

BUSY_LOAD = 0.5
"""Running processes per core, averaged over a minute, above which figures are doubtful (assumed)."""


def copy_bytes_per_s(threads: int, budget_s: float = 0.5) -> float:
    """Bytes read plus bytes written per second by `threads` copies at once."""
    pairs = [(_buffer(1), _buffer(2)) for _ in range(threads)]

    def copy(index: int) -> None:
        target, source = pairs[index]
        ctypes.memmove(target, source, BUFFER_BYTES)

    return 2 * BUFFER_BYTES * threads / _together(copy, threads, budget_s)


def read_bytes_per_s(threads: int, budget_s: float = 0.5) -> float:
    """Bytes read per second by `threads` comparisons at once, each of two equal buffers."""
    compare = ctypes.CDLL(None).memcmp if os.name == "posix" else ctypes.cdll.msvcrt.memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    pairs = [(_buffer(1), _buffer(1)) for _ in range(threads)]

    def read(index: int) -> None:
        first, second = pairs[index]
        compare(first, second, BUFFER_BYTES)

    return 2 * BUFFER_BYTES * threads / _together(read, threads, budget_s)


def _buffer(value: int) -> ctypes.Array[ctypes.c_char]:
    """A buffer with every page written, so that no two pages are the system's one page of zeros."""
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)
    ctypes.memset(buffer, value, BUFFER_BYTES)
    return buffer


def _together(work: Callable[[int], None], threads: int, budget_s: float) -> float:
    """Median seconds for all threads to do their work once, over at least three rounds after a warm-up."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        rounds: list[float] = []
        end = time.perf_counter() + budget_s
        while len(rounds) < 3 or time.perf_counter() < end:
            started = time.perf_counter()
            list(pool.map(work, range(threads)))
            rounds.append(time.perf_counter() - started)
    return median(rounds)


def busy_warning(machine: Machine) -> str | None:
    """Why figures taken now would be doubtful; None on a quiet machine, or where the system doesn't say."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
    cores = machine.cpu_cores or os.cpu_count() or 1
    if load / cores < BUSY_LOAD:
        return None
    return f"this machine is busy: {load:.1f} processes were running on {cores} cores; measure again when it is quiet"
