"""What `fmkit vram` says of several devices and of main memory beside them: shares, possible degrees, what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_table, say
from fmkit.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.vram import DegreeSummary, Estimate
    from fmkit.sizing.estimate import Fit, HostNeed


def print_devices(estimate: Estimate, console: Console) -> None:
    """Each device with its share, where there are several or layers lie elsewhere; and what main memory and disk hold."""
    if len(estimate.devices) > 1 or estimate.host_is_used:
        rows = [
            [
                each.holds if each.count == 1 else f"{each.count} x {each.holds}",
                format_bytes(each.weights_bytes),
                format_bytes(each.cache_bytes),
                format_bytes(each.peak_bytes),
            ]
            for each in estimate.devices
        ]
        print_table(console, ["on a device", "weights", "cache", "peak"], rows, right=[1, 2, 3], indent=2)
    if estimate.host is not None:
        _print_host(estimate.host, console)


def _print_host(host: HostNeed, console: Console) -> None:
    offered = "" if host.budget_bytes is None else f" of {format_bytes(host.budget_bytes)}"
    disk = f", {format_bytes(host.disk_bytes)} on disk" if host.disk_bytes else ""
    say(console, f"beside the device: {format_bytes(host.bytes)}{offered} of main memory{disk}", indent=2)
    if host.budget_reason:
        say(console, f"main memory: {host.budget_reason}", indent=4)
    for line in host.lines:
        say(console, f"{line.part}: {format_bytes(line.bytes)}, {line.reason}", indent=4)


def print_degrees(degrees: Sequence[DegreeSummary], console: Console, *, detail: bool) -> None:
    """The degrees of tensor parallel; with `detail` the reason against each of the others."""
    if not degrees:
        return
    possible = ", ".join(str(each.tensor_parallel) for each in degrees if each.possible)
    say(console, f"tensor parallel: {possible} devices possible", indent=2)
    for each in degrees if detail else ():
        if each.reason is not None:
            say(console, f"{each.tensor_parallel}: {each.reason}", indent=4)


def print_cuts(fit: Fit, console: Console) -> None:
    """What to change where nothing fits, and how many devices would do."""
    for cut in fit.cuts:
        enough = "then it fits" if cut.fits else "not enough alone"
        say(console, f"{cut.change} ({cut.option}): saves {format_bytes(cut.saves_bytes)}, {enough}", indent=2)
    for found in fit.precisions:
        name = found.precision.upper()
        if found.max_gpu_layers is not None:
            say(console, f"{name}: at most gpu_layers={found.max_gpu_layers} fit on the device", indent=2)
        if found.fewest_devices is not None and found.fewest_devices > 1:
            say(console, f"{name}: {found.fewest_devices} devices of this kind hold it", indent=2)
        if found.smallest_device is None and found.smallest_devices is not None:
            say(console, f"{name}: no device alone holds it; --gpu {found.smallest_devices} does", indent=2)
