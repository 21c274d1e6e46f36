"""How passes are timed on one machine: by calls that were timed on it, or by the fit to published measurements."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.formats import why_no_kernel
from fmkit.speed.estimate import FigureBasis, Range
from fmkit.speed.kernels import emulated
from fmkit.speed.launches import launch_of
from fmkit.speed.llama_cpp_here import MeasuredLlamaCpp, llama_cpp_here
from fmkit.speed.matrices import matrices_of
from fmkit.speed.measured_here import Measured
from fmkit.speed.offloaded import NOTHING, OFFLOADED, Offloaded, offloaded
from fmkit.speed.parts import MOST_PROMPT_STEP_TOKENS, PROMPT_STEP_TOKENS, nominal, roof_s
from fmkit.speed.setting import Setting, setting_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.machine import Device, Machine
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.sizing.estimate import MemoryEstimate
    from fmkit.speed.efficiency import SpeedFit
    from fmkit.speed.estimate import Bound, SpeedBasis
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.parts import Part, Phase, Quantity
    from fmkit.speed.rates import MachineRates

HERE: dict[Quantity, tuple[float, float]] = {"prefill": (0.55, 1.2), "decode": (0.8, 1.15)}
"""Measured over predicted, from calls timed on the machine: 80 % of 39 figures of four models on an H100 lay at 0.60 to 1.15 (time to
the first token) and 0.84 to 1.10 (decoding) of the prediction (benchmarks/results/gpu-trials-h100.json), three of whose constants were
set on them: a little more is stated."""

HERE_ON_CPU: dict[str, dict[Quantity, tuple[float, float]]] = {
    "transformers": {"prefill": (0.9, 1.15), "decode": (0.81, 1.08)},
    "llama.cpp": {"prefill": (0.74, 1.03), "decode": (0.77, 1.17)},
}
"""The same on a processor, by engine, on two cores of a shared host. transformers: 80 % of 120 figures of ten models, each measured for
right before, lay at 0.91 to 1.15 and 0.82 to 1.07 (benchmarks/results/speed_cpu.json); of each model's, with the range of the others,
77 and 78 %.
llama.cpp: 80 % of 36 figures of three models lay at 0.74 to 1.02 and 0.77 to 1.16 (benchmarks/results/speed_llama_cpp.json); of each
model's, with the range of the others, 78 and 78 %."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """What passes of one model take on one machine.

    `here` goes before `fit` where it is there; `beside` is what weights outside of the device cost. `backend` is llama.cpp's.
    `untimed_scan`: most of a prompt is a scan that nobody timed, so that nothing is said of it.
    """

    fit: SpeedFit
    setting: Setting
    here: Measured | MeasuredLlamaCpp | None = None
    beside: Offloaded = NOTHING
    backend: str | None = None
    untimed_scan: bool = False

    @property
    def host_step_s(self) -> float:
        """Seconds of a decode step that go into weights outside of the device."""
        return self.beside.step_s

    def reading_s(self, towers: Sequence[TowerPass]) -> float | None:
        """Seconds of the passes before the first token, one after the other; None where no pass can be timed, or a scan was not."""
        if self.untimed_scan:
            return None
        found = [one for tower in towers if (one := self._one_s(tower)) is not None]
        return sum(found) + self._beside_s(towers, decoding=False) if found else None

    def _beside_s(self, passes: Sequence[TowerPass], *, decoding: bool) -> float:
        """Seconds of a step, or of all passes over a prompt, that go into weights outside of the device."""
        return self.host_step_s if decoding else self.beside.read_s * self._prompt_steps(passes)

    def _prompt_steps(self, towers: Sequence[TowerPass]) -> int:
        """How many parts a prompt passes through the decoder in; transformers takes it whole."""
        most = PROMPT_STEP_TOKENS.get(self.setting.engine)
        tokens = next((tower.tokens for tower in towers if tower.role == "decoder"), 1)
        return 1 if most is None else -(-tokens // most)

    def _one_s(self, whole: TowerPass) -> float | None:
        tower = self._held(whole, decoding=False)
        if self.here is not None:
            return self.here.pass_s(tower, decoding=False)
        most = PROMPT_STEP_TOKENS.get(self.setting.engine, MOST_PROMPT_STEP_TOKENS)
        return self.fit.pass_s(in_steps(tower, most), self.setting, "prefill")

    def step_s(self, whole: TowerPass) -> float:
        """Seconds of one decode step of all sequences."""
        tower = self._held(whole, decoding=True)
        if self.here is not None:
            return self.here.pass_s(tower, decoding=True) + self.host_step_s
        return (self.fit.pass_s(tower, self.setting, "decode") or 0.0) + self.host_step_s

    def launch_s(self, tower: TowerPass, *, decoding: bool) -> float:
        """Seconds of a pass that go into launching its layers."""
        if self.here is not None:
            return self.here.launch_s(tower.layers)
        return self.fit.launch_s(tower.layers, self.setting, "decode" if decoding else "prefill")

    def step_bound(self, whole: TowerPass, step_s: float) -> Bound:
        """What a decode step waits for: launching, where that is over half of it, else the longer of reading and multiplying."""
        tower = self._held(whole, decoding=True)
        if self.launch_s(tower, decoding=True) > step_s / 2:
            return "overhead"
        read_s, multiplied_s = self._read_and_multiplied_s(tower)
        return "compute" if multiplied_s > read_s + self.host_step_s else "bandwidth"

    def _read_and_multiplied_s(self, tower: TowerPass) -> tuple[float, float]:
        """Seconds that a step reads, and that it multiplies; of timed calls, what one sequence takes and what more of them add."""
        if self.here is not None:
            beside = tower.attention_operations + tower.expanding_operations
            each = (tower.operations - beside) / max(1, tower.tokens)
            alone = msgspec.structs.replace(
                tower, tokens=1, operations=each + tower.attention_operations, expanding_operations=0.0
            )
            read_s = self.here.pass_s(alone, decoding=True)
            return read_s, self.here.pass_s(tower, decoding=True) - read_s
        parts = nominal(tower, self.setting, "decode")
        reading: tuple[Part, ...] = ("weights", "cache", "attention")
        read_s = sum(self._part_s(getattr(parts, part), "decode", part) for part in reading)
        expanding_s = (
            0.0 if tower.expansion is None else self.fit.pass_s(tower.expansion, self.setting, "prefill") or 0.0
        )
        return read_s, self._part_s(parts.linear, "decode", "linear") + expanding_s

    def _part_s(self, nominal_s: float | None, phase: Phase, part: Part) -> float:
        return (nominal_s or 0.0) * self.fit.coefficient(self.setting, phase, part)

    def share_of_roof(self, passes: Sequence[TowerPass], seconds: float, *, decoding: bool) -> float:
        """The share of the device's nominal rate that passes of so many seconds come to: bytes read of a decode step, operations of a prompt.

        Of weights outside of the device neither bytes nor seconds count.
        """
        roofs_s = sum(roof_s(self._held(one, decoding=decoding), self.setting, decoding=decoding) for one in passes)
        return roofs_s / (seconds - self._beside_s(passes, decoding=decoding))

    def _held(self, tower: TowerPass, *, decoding: bool) -> TowerPass:
        """The pass with the weights that the device holds itself."""
        share = self.beside.step_share if decoding else self.beside.read_share
        return tower if share == 1 else msgspec.structs.replace(tower, weight_bytes=round(tower.weight_bytes * share))

    def figure_basis(self, quantity: Quantity) -> FigureBasis:
        """What a figure rests on, with the measurements behind it."""
        phase: Phase = "prefill" if quantity == "prefill" else "decode"
        uncounted = self.here is not None or self.fit.other_builds_only(self.setting, phase)
        return FigureBasis(basis=self.basis(quantity), points=0 if uncounted else self.fit.points(self.setting, phase))

    def basis(self, quantity: Quantity) -> SpeedBasis:
        """What a figure rests on."""
        if self.host_step_s:
            return "extrapolated"
        if self.here is not None:
            return "measured-here"
        return self.fit.basis_of_build(self.setting, "prefill" if quantity == "prefill" else "decode")

    def range(self, quantity: Quantity, per_s: float, most_per_s: float = inf) -> Range:
        """A rate with the range that its basis has earned, no part of it above `most_per_s`."""
        basis = self.basis(quantity)
        if basis == "measured-here":
            on_cpu = self.setting.device.device_class == "cpu"
            low, high = (HERE_ON_CPU[self.setting.engine] if on_cpu else HERE)[quantity]
        elif self.host_step_s:
            low, high = OFFLOADED
        else:
            phase: Phase = "prefill" if quantity == "prefill" else "decode"
            spread = self.fit.spread(quantity, self.fit.rung_of_build(self.setting, phase), self.setting)
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
        sequences=memory.sequences,
        backend=memory.backend,
        flash_attention=memory.flash_attention,
    )
    unknown = why_no_kernel(layout, device) is not None or emulated(device, setting.kernel, setting.engine)
    if unknown or (here is None and not fit.reaches(setting)):
        return None
    return Timing(
        fit=fit,
        setting=setting,
        here=here,
        beside=offloaded(spec, memory, layout, rates),
        backend=memory.backend,
        untimed_scan=_untimed_scan(spec, memory, device, here),
    )


def _untimed_scan(
    spec: ModelSpec, memory: MemoryEstimate, device: Device, here: Measured | MeasuredLlamaCpp | None
) -> bool:
    """Whether most of a prompt is a scan that nobody timed: on a processor transformers makes it step by step, in Python."""
    if memory.engine != "transformers" or device.device_class != "cpu":
        return False
    scans = any(matrices_of(spec, stack.role).scans for stack in spec.stacks)
    return scans and not (isinstance(here, Measured) and here.knows_scans())


def _measured_here(
    spec: ModelSpec, memory: MemoryEstimate, layout: Layout, device: Device, rates: MachineRates | None
) -> Measured | MeasuredLlamaCpp | None:
    """The calls timed on this machine, where they are those that this engine makes with these weights.

    They were timed on one device: stages over several follow each other, and take as long; ranks of tensor parallel do not.
    """
    if memory.tensor_parallel > 1:
        return None
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


def in_steps(tower: TowerPass, most_tokens: int) -> TowerPass:
    """A pass over more tokens than an engine takes at once: layers are launched and weights read once per step."""
    return msgspec.structs.replace(tower, steps=-(-tower.tokens // most_tokens))


def converts(memory: MemoryEstimate, device: Device) -> bool:
    """PyTorch converts float16 to float32 and back on most CPUs; how slow that is was not measured."""
    return device.device_class == "cpu" and memory.cache_dtype == "float16" and memory.engine == "transformers"
