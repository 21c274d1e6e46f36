"""The inverse of an estimate: the longest context, the most sequences, the best precision, the smallest device.

Memory never falls when context or sequences rise (a tested property), so the largest that fits is found by bisection:
what is given back fits when sized again, and where memory is the limit one step more does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from fmkit.machine import Machine
from fmkit.sizing.cuts import cuts, fewest_devices, leaves_division, most_gpu_layers
from fmkit.sizing.estimate import Fit, PrecisionFit, Workload
from fmkit.sizing.search import largest

if TYPE_CHECKING:
    from fmkit.sizing.estimate import MemoryEstimate

MOST_SEQUENCES = 65_536
"""Where the search for sequences stops: beyond it memory is not what limits a server."""

MOST_TOKENS = 2**24
"""Where the search for context stops for a model that states no limit (16M tokens)."""


NUMBERS_TRIED = (2, 4, 8)
"""Numbers of devices that are proposed where none alone is enough."""


class Sizer(Protocol):
    """Sizes one model at a precision, context and number of sequences on a machine."""

    engine: str
    workload: Workload

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine, /) -> MemoryEstimate:
        """The estimate; its `fits` is judged against the machine."""
        ...

    def with_workload(self, workload: Workload, /) -> Sizer:
        """The same model with other options."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to fit, and where: `layers` of the model, its own limit, and the devices that may be proposed.

    `counted` gives a number of devices of the machine's kind, None for a machine that can't be had twice.
    """

    machine: Machine
    context_tokens: int
    sequences: int
    layers: int
    max_context_tokens: int | None
    devices: Sequence[Machine]
    counted: Callable[[Machine, int], Machine | None]


def fit(sizer: Sizer, asked: Asked, precisions: Sequence[str]) -> Fit:
    """The most that fits on the machine, for each precision from the best down, and the smallest devices that would do.

    `precisions` is ordered from the most bits to the fewest. Bytes short are counted on the most loaded device.
    """
    each = tuple(_fit_precision(sizer, asked, name, precisions[place + 1 :]) for place, name in enumerate(precisions))
    best = next((found for found in each if found.fits), None)
    shown = best or min(each, key=lambda found: found.short_bytes)
    estimate = sizer(shown.precision, asked.context_tokens, asked.sequences, asked.machine)
    return Fit(
        budget_bytes=estimate.budget_bytes or 0,
        best_precision=best.precision if best else None,
        max_context_tokens=shown.max_context_tokens,
        max_sequences=shown.max_sequences,
        limited_by=shown.limited_by,
        smallest_device=shown.smallest_device,
        short_bytes=0 if best else shown.short_bytes,
        cut=None if best or estimate.refused is not None else _largest_part(estimate),
        precisions=each,
        fewest_devices=shown.fewest_devices,
        smallest_devices=shown.smallest_devices,
        max_gpu_layers=shown.max_gpu_layers,
        cuts=shown.cuts,
    )


def _fit_precision(sizer: Sizer, asked: Asked, precision: str, smaller: Sequence[str]) -> PrecisionFit:
    machine = asked.machine

    def fits(tokens: int, count: int) -> bool:
        return bool(sizer(precision, tokens, count, machine).fits)

    estimate = sizer(precision, asked.context_tokens, asked.sequences, machine)
    limit = asked.max_context_tokens or MOST_TOKENS
    longest = largest(lambda tokens: fits(tokens, asked.sequences), limit)
    most = largest(lambda count: fits(asked.context_tokens, count), MOST_SEQUENCES)
    limited_by: Literal["memory", "model"] = "model" if longest == limit and asked.max_context_tokens else "memory"
    off_loads = sizer.workload.offload is not None or estimate.host_is_used
    devices = () if off_loads else asked.devices  # with enough main memory beside it any device would do
    alone = smallest_device(sizer, precision, asked.context_tokens, asked.sequences, devices)
    return PrecisionFit(
        precision=precision,
        fits=bool(estimate.fits),
        max_context_tokens=longest,
        max_sequences=most,
        limited_by=limited_by,
        short_bytes=estimate.short_bytes,
        smallest_device=alone,
        fewest_devices=None if off_loads else _fewest(sizer, asked, precision, machine),
        smallest_devices=alone
        or (None if off_loads else smallest_devices(sizer, precision, asked, estimate.peak_bytes)),
        max_gpu_layers=most_gpu_layers(sizer, estimate, machine, asked.layers),
        cuts=() if estimate.fits else cuts(sizer, estimate, machine, smaller),
    )


def _fewest(sizer: Sizer, asked: Asked, precision: str, machine: Machine) -> int | None:
    """How many devices of the machine's kind hold it, where the division is left to the engine."""
    if not leaves_division(sizer.workload) or asked.counted(machine, 1) is None:
        return None
    return fewest_devices(sizer, precision, asked.context_tokens, asked.sequences, partial(asked.counted, machine))


def smallest_devices(sizer: Sizer, precision: str, asked: Asked, whole_bytes: int) -> str | None:
    """The fewest devices of one kind that hold what no device alone does, and of those the smallest kind: `h100-sxm5-80gb:2`.

    `whole_bytes` is what the model takes undivided, which no number of devices can hold in less memory.
    """
    if not leaves_division(sizer.workload):
        return None
    own = [each for each in asked.devices if each.device is not None and not each.device.unified_memory]
    for count in NUMBERS_TRIED:
        for candidate in sorted(own, key=lambda each: (each.usable_bytes, each.name)):
            together = asked.counted(candidate, count)
            if together is None or candidate.device is None or candidate.usable_bytes * count < whole_bytes // 2:
                continue
            if fewest_devices(
                sizer,
                precision,
                asked.context_tokens,
                asked.sequences,
                partial(asked.counted, candidate),
                counts=(count,),
            ):
                return f"{candidate.device.id}:{count}"
    return None


def smallest_device(
    sizer: Sizer, precision: str, context_tokens: int, sequences: int, devices: Sequence[Machine]
) -> str | None:
    """The id of the device with the least memory that holds it alone, None if none of `devices` does.

    Cards with memory of their own come first: memory shared with a processor is sold by the whole computer.
    """

    def order(machine: Machine) -> tuple[bool, int, str]:
        shared = machine.device is not None and machine.device.unified_memory
        return shared, machine.usable_bytes, machine.name

    for candidate in sorted(devices, key=order):
        if candidate.device is not None and sizer(precision, context_tokens, sequences, candidate).fits:
            return candidate.device.id
    return None


def _largest_part(estimate: MemoryEstimate) -> str:
    by_part: dict[str, int] = {}
    for line in estimate.lines:
        by_part[line.kind] = by_part.get(line.kind, 0) + line.bytes
    return max(by_part, key=lambda part: by_part[part])
