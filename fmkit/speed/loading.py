"""The first load of a model: its files are read from disk, and where the engine quantises while it loads, converted on the way.

Nothing is in the system's file cache at first; a second load reads from there and is faster. What an engine does beside (importing
its libraries, compiling, capturing graphs) is not counted.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from fmkit.model.precision import DTYPE_BYTES
from fmkit.speed.estimate import LoadEstimate, Range
from fmkit.speed.rates import DISK_NAMES, DiskKind
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.rates import MachineRates

DISK_BYTES_PER_S: dict[DiskKind | None, Range] = {
    "nvme": Range(low=1e9, median=2.5e9, high=6.5e9),
    "ssd": Range(low=0.3e9, median=0.5e9, high=0.55e9),
    "disk": Range(low=0.08e9, median=0.15e9, high=0.25e9),
    None: Range(low=0.15e9, median=1.5e9, high=6.5e9),
}
"""Rates of reading large files by kind of disk, assumed: links end at 0.6 GB/s (SATA III), 3.9 and 7.9 GB/s (four lanes of PCI Express 3.0
and 4.0); an unknown disk may be any of them. vLLM read 14.99 GiB in 4.75 s, 3.4 GB/s (tests/fixtures/logs)."""

MEASURED_DISK = (0.6, 1.1)
"""Rate over the one measured here: files lie in pieces and are mapped, and a rate may come out of the disk's own cache (assumed)."""

CONVERSION_BYTES_PER_S = Range(low=1e9, median=4e9, high=10e9)
"""Rate of 16-bit weights that are quantised while they load: copied to the device and packed there (assumed)."""

QUANTISED_WHILE_LOADING = ("bnb-", "torchao-", "quanto-", "hqq-")
"""Layouts that an engine makes of a 16-bit repository; others are read as they are stored."""


def load_estimate(
    spec: ModelSpec, memory: MemoryEstimate, layout: Layout, machine: Machine, rates: MachineRates | None = None
) -> LoadEstimate | None:
    """Seconds until the weights are loaded for the first time; None where nothing says in which type they are stored."""
    converts = layout.id.startswith(QUANTISED_WHILE_LOADING)
    plain = layout.file_type is None and (converts or layout.weight_bits is None)
    file_bytes = _plain_bytes(spec) if plain else memory.weights_bytes
    if file_bytes is None:
        return None
    measured = rates.disk_read_bytes_per_s if rates is not None else None
    if measured is not None:
        disk = Range(low=measured * MEASURED_DISK[0], median=measured, high=measured * MEASURED_DISK[1])
        source = f"a disk measured at {measured / 1e9:.3g} GB/s"
    else:
        disk = DISK_BYTES_PER_S[machine.disk]
        source = f"{DISK_NAMES[machine.disk]}, {disk.median / 1e9:.3g} GB/s assumed"
    pace = CONVERSION_BYTES_PER_S if converts else Range(low=inf, median=inf, high=inf)
    return LoadEstimate(
        file_bytes=file_bytes,
        seconds=Range(
            low=_seconds(file_bytes, disk.high, pace.high),
            median=_seconds(file_bytes, disk.median, pace.median),
            high=_seconds(file_bytes, disk.low, pace.low),
        ),
        basis="measured" if measured is not None else "assumed",
        reason=f"{format_bytes(file_bytes)} from {source}"
        + (f", quantised at {CONVERSION_BYTES_PER_S.median / 1e9:.3g} GB/s (assumed)" if converts else ""),
    )


def _seconds(file_bytes: int, disk_bytes_per_s: float, converted_bytes_per_s: float) -> float:
    """Reading, then converting: a loader takes one tensor after the other.

    >>> _seconds(16_000_000_000, 2e9, inf), _seconds(16_000_000_000, 2e9, 4e9)
    (8.0, 12.0)
    """
    return file_bytes / disk_bytes_per_s + file_bytes / converted_bytes_per_s


def _plain_bytes(spec: ModelSpec) -> int | None:
    """Bytes of the repository's weights as they are published: of the tensors listed in its files, else in the type that the config names."""
    if spec.stored_tensors:
        return sum(group.elements * DTYPE_BYTES.get(group.dtype or "", 2) for group in spec.stored_tensors)
    if not spec.names_dtype:
        return None
    return round(spec.params * DTYPE_BYTES.get(spec.config_dtype, 2))
