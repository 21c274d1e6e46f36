"""`--limit-memory`: the limit as a machine before a trial, and what would have fitted after one that went over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.api.trial_refusal import what_fits
from fmkit.errors import UsageError
from fmkit.trial.out_of_memory import OutOfMemoryError
from fmkit.units import MIB, format_bytes, parse_size

if TYPE_CHECKING:
    from fmkit.api.trial_plan import Plan
    from fmkit.machine import Machine
    from fmkit.trial.request import TrialFailure

LIMIT_REASON = "--limit-memory"

LEAST_LIMIT_BYTES = 64 * MIB
"""Python and the smallest engine take more than this: a smaller limit is a slip of the pen."""


def limit_of(size: str | int | None) -> int | None:
    """The limit in bytes, from text such as `8GiB` or a number of bytes."""
    if size is None:
        return None
    limit = size if isinstance(size, int) else parse_size(size, where="--limit-memory")
    if limit < LEAST_LIMIT_BYTES:
        raise UsageError(
            f"nothing runs in {format_bytes(max(0, limit))}: write a size of at least {format_bytes(LEAST_LIMIT_BYTES)}, such as 8GiB",
            where="--limit-memory",
        )
    return limit


def limited(machine: Machine, limit_bytes: int | None) -> Machine:
    """The machine with no more memory than the limit, if it has more."""
    if limit_bytes is None or limit_bytes >= machine.usable_bytes:
        return machine
    return msgspec.structs.replace(machine, usable_bytes=limit_bytes, reserve_reason=LIMIT_REASON)


def explained(error: OutOfMemoryError, plan: Plan, index: int, limit_bytes: int | None) -> OutOfMemoryError:
    """The error of a workload of the plan with the sizes that would have fitted."""
    fitting = would_have_fitted(error.failure, plan, index, limit_bytes)
    return OutOfMemoryError(error.failure, error.doing, where=error.where or plan.resolved.ref, what_fits=fitting)


def would_have_fitted(failure: TrialFailure, plan: Plan, index: int, limit_bytes: int | None) -> str:
    """What was predicted for the workload, and the settings that fit where what came on top of that is counted as well.

    The budget of the inverse is what there is less the difference between what the trial needed, as far as that is known, and its
    estimate; and less than the estimate, for that was tried.
    """
    estimate, machine = plan.estimates[index], limited(plan.machine, limit_bytes)
    over = max(0, needed_bytes(failure, machine.usable_bytes) - estimate.per_device_bytes)
    budget = max(0, min(machine.usable_bytes - over, estimate.per_device_bytes - 1))
    smaller = msgspec.structs.replace(machine, usable_bytes=budget)
    fitting = what_fits(plan, index, smaller)
    more = f", {format_bytes(over)} less than this, which is counted in the following" if over else ""
    return f"The estimate was {format_bytes(estimate.per_device_bytes)}{more}. {fitting}"


def needed_bytes(failure: TrialFailure, offered_bytes: int) -> int:
    """The least that the trial needed: what it held and asked for; where nobody said, all that there was.

    >>> from fmkit.trial.request import TrialFailure
    >>> needed_bytes(TrialFailure(kind="out-of-memory", phase="load", message="", held_bytes=700, wanted_bytes=400), 1000)
    1100
    """
    if failure.held_bytes is None:
        return offered_bytes
    return failure.held_bytes + (failure.wanted_bytes or 0)
