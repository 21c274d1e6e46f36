"""The rates of a processor, which no catalog knows: measured on this computer, else assumed from its cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.units import number_of

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.efficiency import CoreRates
    from fmkit.speed.rates import MachineRates


def rated(machine: Machine | None, core: CoreRates | None, rates: MachineRates | None = None) -> Machine | None:
    """The machine with rates measured on it, else assumed from its cores, where it is a CPU: no catalog knows its rates.

    What was not measured stays assumed, and is then no ground for a better basis; the device's `sources` say which is which.
    """
    device = machine.device if machine is not None else None
    if machine is None or device is None or device.device_class != "cpu" or device.bandwidth_bytes_per_s is not None:
        return machine
    assumed = _assumed_flops(machine, core)
    torch = rates.on(cpu=True) if rates is not None else None
    measured = {point.dtype: point.per_s for point in torch.operations} if torch is not None else {}
    by_cores = f"assumed from {number_of(machine.cpu_cores or 0, 'core')}"
    if rates is not None:
        bandwidth = round(rates.copy_bytes_per_s)
        doubt = " with doubts: fmkit hardware show" if rates.doubt is not None else ""
        source = f"{bandwidth / 1e9:.3g} GB/s, measured here on {rates.date}{doubt}"
    elif core is not None and machine.cpu_cores is not None:
        bandwidth = round(min(core.bandwidth_gb_s * machine.cpu_cores, core.most_bandwidth_gb_s) * 1e9)
        source = by_cores
    else:
        return machine
    with_rates = msgspec.structs.replace(
        device,
        bandwidth_bytes_per_s=bandwidth,
        flops_per_s={**assumed, **measured},
        sources={
            "bandwidth_gb_s": source,
            "tflops": "measured here" if measured and measured.keys() >= assumed.keys() else by_cores,
        },
        verified=bool(measured) and measured.keys() >= assumed.keys() - {"vector"},  # no product of PyTorch tells that
    )
    return msgspec.structs.replace(machine, device=with_rates)


def _assumed_flops(machine: Machine, core: CoreRates | None) -> dict[str, float]:
    """Operations per second of all cores, by the formats that the processor has instructions for.

    Two threads of a core share its vector units: of the threads that are allowed each counts as its part of one.
    """
    if core is None or machine.cpu_cores is None:
        return {}
    found = {name: rate * machine.cpu_cores * 1e12 for name, rate in core.tflops.items() if name in machine.cpu_formats}
    if core.vector_tflops is not None and "float32" in machine.cpu_formats:
        found["vector"] = core.vector_tflops * 1e12 * max(1.0, machine.cpu_cores / machine.cpu_threads_per_core)
    return found
