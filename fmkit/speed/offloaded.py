"""What weights in main memory and on disk cost: copied to the device before each use, or multiplied by the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.estimate import EXPERTS_WITH_HOST
from fmkit.speed.operations import decode_weight_bytes, routed_expert_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.rates import MachineRates

OFFLOADED = (0.4, 2.0)
"""Range of what is off-loaded (assumed): main memory of desktops and servers is read at some 15 to 80 GB/s, buses at 5 to 25.
gpt-oss-120b beside one or two cards of 24 GiB is reported at 10 to 25 tokens/s; about 20 are predicted for an RTX 4090."""
EVERY_EXPERT = 1_000_000
"""Tokens enough to touch every expert."""


class HostRates(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes per second at which weights outside of the device are used, and the names of those that were measured on this machine.

    `bus` is the rate at which weights of main memory are copied to the device before each use (assumed: PCIe 4.0 x16, memory that is not
    pinned), `disk` that of weights kept on disk, read again in each step, and `processor` that at which the processor multiplies weights of
    main memory itself, as llama.cpp has it do while decoding (assumed; measured: how fast all cores read it).
    """

    bus: float = 12e9
    disk: float = 1.5e9
    processor: float = 40e9
    measured: frozenset[str] = frozenset()

    def said(self, names: Iterable[str]) -> str:
        """The rates of those names in words, with their basis.

        >>> HostRates(bus=7.4e9, measured=frozenset({"bus"})).said(("bus", "disk"))
        'bus 7.4 GB/s measured here, disk 1.5 GB/s assumed'
        """
        return ", ".join(
            f"{name} {getattr(self, name) / 1e9:.3g} GB/s {'measured here' if name in self.measured else 'assumed'}"
            for name in names
        )


def host_rates(rates: MachineRates | None) -> HostRates:
    """What was measured on this machine, the assumed rates where nothing was."""
    if rates is None:
        return HostRates()
    accelerator = rates.on(cpu=False)
    found = {
        "bus": accelerator.host_to_device_bytes_per_s if accelerator is not None else None,
        "disk": rates.disk_read_bytes_per_s,
        "processor": rates.read_bytes_per_s,
    }
    known = {name: rate for name, rate in found.items() if rate}
    return HostRates(**known, measured=frozenset(known))


LAYERS_BESIDE = ("weights: off-loaded", "weights: on disk", "cache: left with the host")
"""Lines that only whole layers outside of the device have."""


class Offloaded(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that off-loaded weights add to a decode step, and to each part of a prompt that passes through them.

    `step_share` and `read_share` of the weights that a step or a prompt reads stay with the device. `rates` says at which rates the rest is used.
    """

    step_s: float = 0.0
    read_s: float = 0.0
    step_share: float = 1.0
    read_share: float = 1.0
    rates: str = ""


NOTHING = Offloaded()


def offloaded(spec: ModelSpec, memory: MemoryEstimate, layout: Layout, rates: MachineRates | None = None) -> Offloaded:
    """What the weights cost that are not on the device. Times of host, bus and device add up: a layer waits for the one before.

    `rates` are those measured on this machine.

    accelerate copies whole layers, every expert with them. llama.cpp computes layers of the host on the processor while it decodes,
    which reads the experts that tokens are routed to and no other; prompts are computed on the device, which copies the weights.
    """
    layers, experts = _host_layers(spec, memory, layout), _host_experts(memory)
    disk = memory.host.disk_bytes if memory.host is not None else 0
    if not layers + experts + disk:
        return NOTHING
    held = memory.weights_bytes + layers + experts + disk
    host = host_rates(rates)
    copied_s = (layers + experts) / host.bus + disk / host.disk
    copies = [name for name, size in (("bus", layers + experts), ("disk", disk)) if size]
    read_share = max(0.0, memory.weights_bytes / max(1, held))
    if memory.engine != "llama.cpp":
        return Offloaded(
            step_s=copied_s, read_s=copied_s, step_share=read_share, read_share=read_share, rates=host.said(copies)
        )
    step_bytes, every_bytes = (decode_weight_bytes(spec, layout, tokens) for tokens in (memory.sequences, EVERY_EXPERT))
    routed, every_expert = (routed_expert_bytes(spec, layout, tokens) for tokens in (memory.sequences, EVERY_EXPERT))
    read_bytes = layers * step_bytes / max(1, every_bytes) + experts * routed / max(1, every_expert)
    return Offloaded(
        step_s=read_bytes / host.processor,
        read_s=copied_s,
        step_share=max(0.0, 1 - read_bytes / max(1, step_bytes)),
        read_share=read_share,
        rates=host.said(["processor", *copies]),
    )


def _host_layers(spec: ModelSpec, memory: MemoryEstimate, layout: Layout) -> int:
    """Bytes of weights in main memory that are needed in every pass; an input embedding lies there for free, its rows are looked up."""
    if memory.host is None or not {line.part for line in memory.host.lines} & set(LAYERS_BESIDE):
        return 0
    held = sum(
        line.bytes
        for line in memory.host.lines
        if line.part.startswith("weights") and "disk" not in line.part and line.part != EXPERTS_WITH_HOST
    )
    looked_up = max(
        (layout.tensor_group_bytes(one, spec.config_dtype) for one in spec.tensors if one.part == "embedding"),
        default=0,
    )
    return max(0, held - looked_up)


def _host_experts(memory: MemoryEstimate) -> int:
    """Bytes of experts in main memory whose layers are on the device."""
    if memory.host is None:
        return 0
    return sum(line.bytes for line in memory.host.lines if line.part == EXPERTS_WITH_HOST)
