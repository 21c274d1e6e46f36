"""How passes are timed on one machine: by calls that were timed on it, or by the fit to published measurements."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from fmkit.speed.efficiency import MOST_PROMPT_STEP_TOKENS, PROMPT_STEP_TOKENS, setting_of
from fmkit.speed.estimate import Range
from fmkit.speed.kernels import refused
from fmkit.speed.launches import launch_of
from fmkit.speed.llama_cpp_here import MeasuredLlamaCpp, llama_cpp_here
from fmkit.speed.measured_here import Measured, matrices_of
from fmkit.speed.operations import decode_weight_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Device, Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.efficiency import Quantity, Setting, SpeedFit
    from fmkit.speed.estimate import SpeedBasis
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.rates import MachineRates

HERE: dict[Quantity, tuple[float, float]] = {"prefill": (0.55, 1.2), "decode": (0.8, 1.15)}
"""Measured over predicted, from calls timed on the machine: 80 % of 39 figures of four models on an H100 lay at 0.60 to 1.15 (time to
the first token) and 0.84 to 1.10 (decoding) of the prediction (benchmarks/results/gpu-trials-h100.json), three of whose constants were
set on them: a little more is stated. On a CPU: benchmarks/speed_cpu.py."""

BUS_BYTES_PER_S = 12e9
"""Rate at which weights of main memory are copied to the device before each use (assumed; PCIe 4.0 x16, memory that is not pinned)."""
HOST_BYTES_PER_S = 40e9
"""Rate at which the processor multiplies weights of main memory itself, as llama.cpp has it do while decoding (assumed)."""
OFFLOADED = (0.4, 2.0)
"""Range of what is off-loaded (assumed): main memory of desktops and servers is read at some 15 to 80 GB/s, buses at 5 to 25.
gpt-oss-120b beside one or two cards of 24 GiB is reported at 10 to 25 tokens/s; about 20 are predicted for an RTX 4090."""
EVERY_EXPERT = 1_000_000
"""Tokens enough to touch every expert."""
DISK_BYTES_PER_S = 1.5e9
"""Rate of weights kept on disk, read again in each step (assumed)."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """What passes of one model take on one machine.

    `here` goes before `fit` where it is there. Off-loaded weights cost `host_step_s` in each decode step, and `host_read_s` each time
    that a part of a prompt passes through them; `device_share` of the weights stays with the device.
    """

    fit: SpeedFit
    setting: Setting
    here: Measured | MeasuredLlamaCpp | None = None
    host_step_s: float = 0.0
    host_read_s: float = 0.0
    device_share: float = 1.0

    def reading_s(self, towers: Sequence[TowerPass]) -> float | None:
        """Seconds of the passes before the first token, one after the other; None where no pass can be timed."""
        found = [one for tower in towers if (one := self._one_s(tower)) is not None]
        return sum(found) + self.host_read_s * self._prompt_steps(towers) if found else None

    def _prompt_steps(self, towers: Sequence[TowerPass]) -> int:
        """How many parts a prompt passes through the decoder in; transformers takes it whole."""
        most = PROMPT_STEP_TOKENS.get(self.setting.engine)
        tokens = next((tower.tokens for tower in towers if tower.role == "decoder"), 1)
        return 1 if most is None else -(-tokens // most)

    def _one_s(self, whole: TowerPass) -> float | None:
        tower = self._held(whole)
        if self.here is not None:
            return self.here.pass_s(tower, decoding=False)
        most = PROMPT_STEP_TOKENS.get(self.setting.engine, MOST_PROMPT_STEP_TOKENS)
        return self.fit.pass_s(in_steps(tower, most), self.setting, "prefill")

    def _held(self, tower: TowerPass) -> TowerPass:
        """The pass with the weights that the device holds itself."""
        if self.device_share == 1:
            return tower
        return msgspec.structs.replace(tower, weight_bytes=round(tower.weight_bytes * self.device_share))

    def step_s(self, whole: TowerPass) -> float:
        """Seconds of one decode step of all sequences."""
        tower = self._held(whole)
        if self.here is not None:
            return self.here.pass_s(tower, decoding=True) + self.host_step_s
        return (self.fit.pass_s(tower, self.setting, "decode") or 0.0) + self.host_step_s

    def launch_s(self, tower: TowerPass, *, decoding: bool) -> float:
        """Seconds of a pass that go into launching its layers."""
        if self.here is not None:
            return self.here.launch_s(tower.layers)
        return self.fit.launch_s(tower.layers, self.setting, "decode" if decoding else "prefill")

    def basis(self, quantity: Quantity) -> SpeedBasis:
        """What a figure rests on."""
        if self.host_step_s:
            return "extrapolated"
        if self.here is not None:
            return "measured-here"
        return self.fit.basis(self.setting, "prefill" if quantity == "prefill" else "decode")

    def range(self, quantity: Quantity, per_s: float, most_per_s: float = inf) -> Range:
        """A rate with the range that its basis has earned, no part of it above `most_per_s`."""
        basis = self.basis(quantity)
        if basis == "measured-here":
            low, high = HERE[quantity]
        elif self.host_step_s:
            low, high = OFFLOADED
        else:
            spread = self.fit.spread(quantity, basis, self.setting)
            low, high = spread.low, spread.high
        return Range(
            low=min(per_s * low, most_per_s), median=min(per_s, most_per_s), high=min(per_s * high, most_per_s)
        )


def timing_on(
    spec: ModelSpec,
    memory: MemoryEstimate,
    layout: Layout,
    machine: Machine | None,
    fit: SpeedFit,
    rates: MachineRates | None = None,
) -> Timing | None:
    """How passes of this estimate are timed; None where nothing is known to time them by."""
    device = machine.device if machine is not None else None
    if device is None or not fit.knows(memory.engine):
        return None
    here = _measured_here(spec, memory, layout, device, rates)
    if here is None and (device.bandwidth_bytes_per_s is None or converts(memory, device)):
        return None
    setting = setting_of(
        memory.engine,
        device,
        layout,
        spec,
        ranks=memory.tensor_parallel,
        stages=memory.pipeline_parallel,
    )
    if refused(device, setting.kernel) is not None or (here is None and not _reaches(fit, setting)):
        return None
    host_bytes = _host_weights(spec, memory, layout)
    elsewhere = host_bytes + (memory.host.disk_bytes if memory.host is not None else 0)
    share = max(0.0, 1 - elsewhere / max(1, memory.weights_bytes + elsewhere))
    return Timing(
        fit=fit,
        setting=setting,
        here=here,
        host_step_s=_host_step_s(spec, memory, layout, host_bytes),
        host_read_s=_copied_s(memory, host_bytes),
        device_share=share,
    )


def _reaches(fit: SpeedFit, setting: Setting) -> bool:
    """A processor is no accelerator: an engine that nobody measured on one says nothing about one."""
    cpu = setting.device.device_class == "cpu"
    return not cpu or any(fit.measured.get(f"{phase} {setting.engine}, cpu", 0) for phase in ("decode", "prefill"))


def _measured_here(
    spec: ModelSpec, memory: MemoryEstimate, layout: Layout, device: Device, rates: MachineRates | None
) -> Measured | MeasuredLlamaCpp | None:
    """The calls timed on this machine, where they are those that this engine makes with these weights."""
    if (
        memory.engine == "llama.cpp"
        and rates is not None
        and rates.llama_cpp is not None
        and device.device_class == "cpu"
    ):
        return llama_cpp_here(spec, layout, rates.llama_cpp, memory.sequences)
    torch = rates.on(cpu=device.device_class == "cpu") if rates is not None else None
    if torch is None or memory.engine != "transformers" or layout.weight_bits is not None:
        return None
    found = Measured(
        rates=torch,
        dtype=memory.cache_dtype,
        launch=launch_of(spec),
        sequences=memory.sequences,
        matrices={stack.role: matrices_of(spec, stack.role) for stack in spec.stacks} if torch.calls else {},
    )
    return found if found.knows() else None


def _host_weights(spec: ModelSpec, memory: MemoryEstimate, layout: Layout) -> int:
    """Bytes of weights in main memory that are needed in every pass; an input embedding lies there for free, its rows are looked up."""
    if memory.host is None or not memory.host_is_used:
        return 0
    held = sum(line.bytes for line in memory.host.lines if line.part.startswith("weights") and "disk" not in line.part)
    looked_up = max(
        (layout.tensor_group_bytes(one, spec.config_dtype) for one in spec.tensors if one.part == "embedding"),
        default=0,
    )
    return max(0, held - looked_up)


def _copied_s(memory: MemoryEstimate, host_bytes: int) -> float:
    """Seconds to bring all weights of main memory and disk to the device once; they come on top of the device's own time."""
    disk_bytes = memory.host.disk_bytes if memory.host is not None else 0
    return host_bytes / BUS_BYTES_PER_S + disk_bytes / DISK_BYTES_PER_S


def _host_step_s(spec: ModelSpec, memory: MemoryEstimate, layout: Layout, host_bytes: int) -> float:
    """Seconds of a decode step for off-loaded weights: accelerate copies whole layers, every expert with them.

    llama.cpp computes such layers on the processor, which reads the experts that tokens are routed to and no other.
    """
    if memory.engine != "llama.cpp" or not host_bytes:
        return _copied_s(memory, host_bytes)
    routed, every = (decode_weight_bytes(spec, layout, tokens) for tokens in (memory.sequences, EVERY_EXPERT))
    return host_bytes * routed / max(1, every) / HOST_BYTES_PER_S


def in_steps(tower: TowerPass, most_tokens: int) -> TowerPass:
    """A pass over more tokens than an engine takes at once: layers are launched and weights read once per step."""
    steps = -(-tower.tokens // most_tokens)
    return msgspec.structs.replace(tower, layers=tower.layers * steps, weight_bytes=tower.weight_bytes * steps)


def converts(memory: MemoryEstimate, device: Device) -> bool:
    """PyTorch converts float16 to float32 and back on most CPUs; how slow that is was not measured."""
    return device.device_class == "cpu" and memory.cache_dtype == "float16" and memory.engine == "transformers"
