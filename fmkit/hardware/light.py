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

import msgspec

from fmkit.machine import Machine
from fmkit.units import GIB, MIB

BUFFER_BYTES = 64 * MIB
"""Per thread and buffer: beyond the last cache of a desktop, and of a server's share per core."""

LEAST_BUFFER_BYTES = 8 * MIB
"""Below this a buffer may stay in the caches of a core: fewer threads measure instead."""

MEMORY_SHARE = 8
"""All buffers together take at most one part in so many of the memory that is free."""

UNSTATED_FREE_BYTES = 8 * GIB
"""What is taken to be free where the system doesn't say (assumed)."""

BUSY_LOAD = 0.5
"""Running processes per core, averaged over a minute, above which figures are doubtful (assumed)."""


class Buffers(msgspec.Struct, frozen=True):
    """Who measures with how much: `threads` at once, each with two buffers of `bytes`."""

    threads: int
    bytes: int = BUFFER_BYTES


def buffers_within(threads: int, free_bytes: int | None) -> Buffers:
    """Two buffers for each thread within an eighth of the free memory; smaller ones, then fewer threads, where that is little.

    >>> [buffers_within(192, free * GIB) for free in (512, 64, 4)]
    [Buffers(threads=192, bytes=67108864), Buffers(threads=192, bytes=22369621), Buffers(threads=32, bytes=8388608)]
    """
    room = (UNSTATED_FREE_BYTES if free_bytes is None else free_bytes) // MEMORY_SHARE
    threads = max(1, min(threads, room // (2 * LEAST_BUFFER_BYTES)))
    return Buffers(threads, max(MIB, min(BUFFER_BYTES, room // (2 * threads))))


def copy_bytes_per_s(buffers: Buffers, budget_s: float = 0.5) -> float:
    """Bytes read plus bytes written per second by a copy in each thread at once."""
    pairs = [(_buffer(1, buffers.bytes), _buffer(2, buffers.bytes)) for _ in range(buffers.threads)]

    def copy(index: int) -> None:
        target, source = pairs[index]
        ctypes.memmove(target, source, buffers.bytes)

    return 2 * buffers.bytes * buffers.threads / _together(copy, buffers.threads, budget_s)


def read_bytes_per_s(buffers: Buffers, budget_s: float = 0.5) -> float:
    """Bytes read per second by a comparison in each thread at once, each of two equal buffers."""
    compare = ctypes.CDLL(None).memcmp if os.name == "posix" else ctypes.cdll.msvcrt.memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    pairs = [(_buffer(1, buffers.bytes), _buffer(1, buffers.bytes)) for _ in range(buffers.threads)]

    def read(index: int) -> None:
        first, second = pairs[index]
        compare(first, second, buffers.bytes)

    return 2 * buffers.bytes * buffers.threads / _together(read, buffers.threads, budget_s)


def _buffer(value: int, size: int) -> ctypes.Array[ctypes.c_char]:
    """A buffer with every page written, so that no two pages are the system's one page of zeros."""
    buffer = ctypes.create_string_buffer(size)
    ctypes.memset(buffer, value, size)
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
