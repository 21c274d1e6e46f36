"""The inverse of an estimate: the longest context, the most sequences, the best precision, the smallest device.

Memory never falls when context or sequences rise (a tested property), so the largest that fits is found by bisection: what
is given back fits when sized again, and where memory is the limit one step more does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from fmkit.sizing.estimate import Fit, PrecisionFit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmkit.machine import Machine
    from fmkit.sizing.estimate import MemoryEstimate

MOST_SEQUENCES = 65_536
"""Where the search for sequences stops: beyond it memory is not what limits a server."""

MOST_TOKENS = 2**24
"""Where the search for context stops for a model that states no limit (16M tokens)."""


class Sizer(Protocol):
    """Sizes one model at a precision, context and number of sequences on a machine."""

    def __call__(self, precision: str, context_tokens: int, sequences: int, machine: Machine, /) -> MemoryEstimate:
        """The estimate; its `fits` is judged against the machine."""
        ...


def fit(
    sizer: Sizer,
    machine: Machine,
    precisions: Sequence[str],
    context_tokens: int,
    sequences: int,
    max_context_tokens: int | None,
    devices: Sequence[Machine],
) -> Fit:
    """The most that fits on `machine`, for each precision from the best down, and the smallest of `devices` that would do.

    `context_tokens` and `sequences` are what was asked; `precisions` is ordered from the most bits to the fewest. Bytes short
    are counted on the most loaded device.
    """
    each = tuple(
        _fit_precision(sizer, machine, precision, context_tokens, sequences, max_context_tokens, devices)
        for precision in precisions
    )
    best = next((found for found in each if found.fits), None)
    shown = best or min(each, key=lambda found: found.short_bytes)
    asked = sizer(shown.precision, context_tokens, sequences, machine)
    return Fit(
        budget_bytes=asked.budget_bytes or 0,
        best_precision=best.precision if best else None,
        max_context_tokens=shown.max_context_tokens,
        max_sequences=shown.max_sequences,
        limited_by=shown.limited_by,
        smallest_device=shown.smallest_device,
        short_bytes=0 if best else shown.short_bytes,
        cut=None if best else _largest_part(asked),
        precisions=each,
    )


def _fit_precision(
    sizer: Sizer,
    machine: Machine,
    precision: str,
    context_tokens: int,
    sequences: int,
    max_context_tokens: int | None,
    devices: Sequence[Machine],
) -> PrecisionFit:
    def fits(tokens: int, count: int) -> bool:
        return bool(sizer(precision, tokens, count, machine).fits)

    asked = sizer(precision, context_tokens, sequences, machine)
    limit = max_context_tokens or MOST_TOKENS
    longest = largest(lambda tokens: fits(tokens, sequences), limit)
    most = largest(lambda count: fits(context_tokens, count), MOST_SEQUENCES)
    limited_by: Literal["memory", "model"] = "model" if longest == limit and max_context_tokens else "memory"
    return PrecisionFit(
        precision=precision,
        fits=bool(asked.fits),
        max_context_tokens=longest,
        max_sequences=most,
        limited_by=limited_by,
        short_bytes=asked.short_bytes,
        smallest_device=smallest_device(sizer, precision, context_tokens, sequences, devices),
    )


def largest(fits: Callable[[int], bool], limit: int) -> int | None:
    """The largest whole number from 1 to `limit` for which `fits` holds, None if not even 1 does.

    >>> largest(lambda n: n * n <= 50, 100), largest(lambda n: True, 100), largest(lambda n: False, 100)
    (7, 100, None)
    """
    if not fits(1):
        return None
    if fits(limit):
        return limit
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


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
        part = line.part.partition(":")[0]
        by_part[part] = by_part.get(part, 0) + line.bytes
    return max(by_part, key=lambda part: by_part[part])
