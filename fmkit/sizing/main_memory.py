"""What lies in main memory and on disk beside the devices, judged against the main memory there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.machine import host_budget, host_reserve
from fmkit.sizing.engines.plan import total
from fmkit.sizing.estimate import HostNeed
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.sizing.engines.plan import Placement

UNJUDGED_BYTES = 4 * GIB
"""Bytes in main memory that any machine is taken to have."""


def host_need(placement: Placement, machine: Machine | None) -> HostNeed | None:
    """What lies beside the devices, judged against main memory where that is known."""
    in_memory = [line for each in placement.devices for line in each.plan.host]
    on_disk = [line for each in placement.devices for line in each.plan.disk]
    if not in_memory and not on_disk:
        return None
    return HostNeed(
        bytes=total(in_memory),
        disk_bytes=total(on_disk),
        lines=(*in_memory, *on_disk),
        budget_bytes=host_budget(machine),
        budget_reason=_budget_reason(machine),
    )


def unjudged(host: HostNeed | None) -> tuple[str, ...]:
    """A word where much lies in main memory whose size is not known: more than an embedding and the inputs of a step."""
    if host is None or host.budget_bytes is not None or host.bytes < UNJUDGED_BYTES:
        return ()
    return (
        f"{format_bytes(host.bytes)} of main memory are needed beside; how much there is, is not known (--memory beside --gpu)",
    )


def _budget_reason(machine: Machine | None) -> str:
    if machine is None or machine.host_memory_bytes is None:
        return ""
    size = machine.host_memory_bytes
    reserve = host_reserve(size)
    return f"{format_bytes(size)} less {format_bytes(reserve.bytes)}: {reserve.reason}"
