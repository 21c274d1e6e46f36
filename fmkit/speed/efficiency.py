"""What hardware really reaches of its nominal rates, as fitted to published measurements (catalog/speed/, benchmarks/fit_speed.py).

A part of a pass (fmkit/speed/parts.py) takes its nominal time times exp(sum of effects). An effect belongs to a scope: all engines, one
engine, an engine on a kind of memory, with a kernel, on a device ... (fmkit/speed/scopes.py). A scope that nobody measured has no effect,
so that what is unknown falls back on what it has in common with the known; the range widens with the basis.
"""

from __future__ import annotations

from math import exp, prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.machine import recalled_figures
from fmkit.speed.estimate import SpeedBasis
from fmkit.speed.parts import LAYER_S, PARTS, Part, Phase, Quantity, joined, nominal
from fmkit.speed.scopes import (
    KNOWN,
    Rung,
    built_on,
    has_backend,
    measured_like,
    measured_of_vendor,
    measured_on,
    scopes,
    width_scopes,
)
from fmkit.speed.setting import Setting, launch_overlaps, other_builds, program

if TYPE_CHECKING:
    from fmkit.machine import Device
    from fmkit.speed.operations import TowerPass


class CoreRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one core of a CPU is taken to reach, for a processor whose memory and matrix rates nobody measured yet.

    `bandwidth_gb_s` is copy bandwidth per core, in decimal gigabytes per second; `tflops` dense matrix rates per core by number format,
    as measured; `vector_tflops` the nominal rate of its vector units in float32. `most_bandwidth_gb_s` is where more cores no longer help.
    """

    bandwidth_gb_s: float
    most_bandwidth_gb_s: float
    tflops: dict[str, float] = {}
    vector_tflops: float | None = None
    source: str


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How far measured speeds lay from held-out predictions: 80 % of them between `low` and `high` times the prediction, at a width of 1."""

    low: float
    high: float
    points: int


class SpeedFit(msgspec.Struct, frozen=True, kw_only=True):
    """The fitted effects and spreads.

    `effects` by "phase part", then by scope; `measured` counts the measurements behind "phase scope"; `spreads` by "quantity basis";
    `widths`, by "quantity scope", multiply their logarithms.
    `measurements` is a digest of what it was fitted to, where it was kept.
    """

    date: str
    rows: int
    measurements: str = ""
    effects: dict[str, dict[str, float]]
    measured: dict[str, int]
    spreads: dict[str, Spread]
    widths: dict[str, float] = {}

    def coefficient(self, setting: Setting, phase: Phase, part: Part) -> float:
        """The factor on the nominal time of a part."""
        effects = self.effects.get(f"{phase} {part}", {})
        return exp(sum(effects.get(scope, 0.0) for scope in scopes(setting, phase, part)))

    def pass_s(self, tower: TowerPass, setting: Setting, phase: Phase) -> float | None:
        """Seconds of one pass; None where it is a prompt's, and the device's matrix rate is unknown."""
        parts = nominal(tower, setting, phase)
        if parts.linear is None and phase == "prefill":
            return None
        seconds = [(getattr(parts, part) or 0.0) * self.coefficient(setting, phase, part) for part in PARTS]
        whole_s = joined(*seconds, overlaps=launch_overlaps(setting), decoding=phase == "decode")
        expansion = tower.expansion
        return whole_s if expansion is None else whole_s + (self.pass_s(expansion, setting, "prefill") or 0.0)

    def launch_s(self, layers: int, setting: Setting, phase: Phase) -> float:
        """Seconds of a pass that are spent on launching layers."""
        return layers * LAYER_S * setting.launches * self.coefficient(setting, phase, "launch")

    def points(self, setting: Setting, phase: Phase) -> int:
        """Measurements of this engine on this device with this kernel."""
        return self.measured.get(f"{phase} {measured_on(setting)}", 0)

    def build_points(self, setting: Setting, phase: Phase, build: str | None = None) -> int:
        """Measurements of this engine on this device with a backend, the setting's own or another, whatever the kernel."""
        whole, dense, mixture = (
            self.measured.get(f"{phase} {built_on(setting, build)}{each}", 0) for each in ("", ", dense", ", mixture")
        )
        return max(whole, dense + mixture)

    def other_builds_only(self, setting: Setting, phase: Phase) -> bool:
        """Whether the device was measured with other backends than the setting's and not with that: they say little of it."""
        if not has_backend(setting) or self.build_points(setting, phase):
            return False
        return any(self.build_points(setting, phase, build) for build in other_builds(setting))

    def knows_build(self, setting: Setting, phase: Phase) -> bool:
        """Whether the setting's backend was measured on any device; True for an engine without one."""
        if not has_backend(setting) or self.build_points(setting, phase):
            return True
        return bool(self.measured.get(f"{phase} {program(setting)}, backend {setting.build}", 0))

    def basis(self, setting: Setting, phase: Phase) -> SpeedBasis:
        """What a prediction rests on: measurements on this device, of its kind of memory and kernel, or of something else."""
        if _doubtful(setting.device, phase):
            return "extrapolated"
        if setting.mixture and not self.measured.get(f"{phase} {program(setting)}, mixture", 0):
            return "extrapolated"
        if self.points(setting, phase):
            return "measured-device"
        return "class" if self.measured.get(f"{phase} {measured_like(setting)}", 0) else "extrapolated"

    def rung(self, setting: Setting, phase: Phase) -> Rung:
        """What the range of a prediction rests on: its basis, where the program was measured on devices of the vendor."""
        if not any(self.measured.get(f"{phase} {scope}", 0) for scope in measured_of_vendor(setting)):
            return "new-vendor"
        basis = self.basis(setting, phase)
        return "extrapolated" if basis not in KNOWN else basis

    def basis_of_build(self, setting: Setting, phase: Phase) -> SpeedBasis:
        """The basis with the backend regarded: measurements of another one on the device are as those of another device."""
        if not self.knows_build(setting, phase):
            return "extrapolated"
        found = self.basis(setting, phase)
        return "class" if found == "measured-device" and self.other_builds_only(setting, phase) else found

    def rung_of_build(self, setting: Setting, phase: Phase) -> Rung:
        """The rung with the backend regarded."""
        if self.rung(setting, phase) == "new-vendor":
            return "new-vendor"
        basis = self.basis_of_build(setting, phase)
        return "extrapolated" if basis not in KNOWN else basis

    def knows(self, engine: str) -> bool:
        """Whether anything was measured of the engine."""
        return any(self.measured.get(f"{phase} {engine}", 0) for phase in ("decode", "prefill"))

    def reaches(self, setting: Setting) -> bool:
        """Whether the measurements say anything of the device: those of accelerators say nothing of a processor."""
        if setting.device.device_class != "cpu":
            return True
        return any(self.measured.get(f"{phase} {setting.engine}, cpu", 0) for phase in ("decode", "prefill"))

    def spread(self, quantity: Quantity, basis: str, setting: Setting) -> Spread:
        """The range for a quantity on a basis, as wide as errors in all of the setting's scopes make it.

        Less is known of an extrapolation than of anything: no range reaches further either way than its longer side.
        """
        found = self._earned(quantity, basis, setting)
        if basis not in KNOWN or f"{quantity} extrapolated" not in self.spreads:
            return found
        widest = self._earned(quantity, "extrapolated", setting)
        most = max(widest.high, 1 / widest.low)
        return Spread(low=max(found.low, 1 / most), high=min(found.high, most), points=found.points)

    def _earned(self, quantity: Quantity, basis: str, setting: Setting) -> Spread:
        common = self.spreads[f"{quantity} {basis}"]
        width = prod(self.widths.get(f"{quantity} {scope}", 1.0) for scope in width_scopes(basis, setting))
        return Spread(low=common.low**width, high=common.high**width, points=common.points)


def _doubtful(device: Device, phase: Phase) -> bool:
    """Whether what a phase waits for, memory or vector units, is a processor's figure that was recalled, or assumed from its cores."""
    if device.device_class != "cpu":
        return False
    if device.verified:
        return phase == "prefill" and "assumed" in device.sources.get("tflops", "")
    recalled = recalled_figures(device.sources)
    return phase == "prefill" or not recalled or "bandwidth_gb_s" in recalled
