"""What hardware really reaches of its nominal rates, as fitted to published measurements (catalog/speed/, benchmarks/fit_speed.py).

A pass is made of parts, each with a nominal time: launching its layers, reading weights, reading the cache, multiplying, attending,
exchanging between devices, and in a decode step what each sequence (choosing a token) and each expert takes of its own. A part takes its
nominal time times exp(sum of effects). An effect belongs to a scope: all engines, one engine, an engine on a kind of memory, with a
kernel, on a device ... A scope that nobody measured has no effect, so that what is unknown falls back on what it has in common with the
known; the range widens with the basis.
"""

from __future__ import annotations

from math import exp, prod
from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.speed.estimate import SpeedBasis
from fmkit.speed.kernels import Kernel, kernel_of, matrix_rate, memory_group
from fmkit.speed.launches import launches_per_layer

if TYPE_CHECKING:
    from fmkit.machine import Device
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.speed.operations import TowerPass

Phase = Literal["prefill", "decode"]
Quantity = Literal["prefill", "decode", "throughput"]
Part = Literal["launch", "weights", "cache", "linear", "attention", "exchange", "sequence", "experts"]
PARTS: tuple[Part, ...] = ("launch", "weights", "cache", "linear", "attention", "exchange", "sequence", "experts")

LAYER_S = 1e-5
"""Nominal time to launch one layer: what effects of `launch` are relative to."""

SEQUENCE_S = 2e-5
"""Nominal time that each sequence of a decode step takes beside the model: choosing a token, writing it out, planning the next step."""

EXPERT_S = 1e-6
"""Nominal time that one expert of a layer takes in a decode step beside its weights: a small product of its own."""

EXCHANGE_S = 8e-6
"""Nominal latency of one all-reduce; every layer has two."""

LINK_BYTES_PER_S = {"datacentre": 250e9}
OTHER_LINK_BYTES_PER_S = 20e9
"""Nominal rate between devices in tensor parallel: NVLink and its kin in a data centre, else PCIe 4.0 x16."""

OVERLAP_POWER = 4.0
"""What overlaps takes (a ** p + b ** p) ** (1 / p) together, nearly the longer of both: reading and computing do."""

LAUNCH_OVERLAPS = frozenset(("transformers", "autoawq", "autogptq", "pytorch-lightning", "deepspeed"))
"""Engines that launch kernel after kernel from Python: a GPU works while the next one is launched. Others launch whole graphs."""


class CoreRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one core of a CPU was measured to reach, for a processor whose memory and matrix rates nobody measured yet.

    `bandwidth_gb_s` is copy bandwidth per core, in decimal gigabytes per second; `tflops` dense matrix rates per core by number
    format. `most_bandwidth_gb_s` is where more cores no longer help.
    """

    bandwidth_gb_s: float
    most_bandwidth_gb_s: float
    tflops: dict[str, float]
    source: str


PROMPT_STEP_TOKENS = {"llama.cpp": 512}
MOST_PROMPT_STEP_TOKENS = 8192
"""Tokens of a prompt that pass through a tower together; longer prompts take several passes."""

MOST_STEPS_IN_FLIGHT = 4
"""Steps of a prompt that llama.cpp has under way at once over several cards: the copies that its scheduler keeps (GGML_SCHED_MAX_COPIES)."""

RELEASES = {"transformers": "5", "vllm": "V1"}
"""The release that estimates are for, where measurements of older ones tell of another program: transformers 4 kept caches another way,
vLLM before 0.8 (V0) had another scheduler, sampler and kernels."""

APART = frozenset(("vllm",))
"""Engines whose older releases share no more with the present one than the effects of the engine: what V0 reached of a device or with a
kernel says nothing of V1."""

BACKENDS = {"nvidia": "cuda", "apple": "metal", "amd": "vulkan", "intel": "vulkan"}
"""The backend of llama.cpp that estimates are for, by vendor: what its release files bring for a card of that vendor."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Who computes on what: all that an effect can depend on.

    `build` is an engine's backend or major release where it is known; `launches` is what launching a layer of this model takes as a
    multiple of a Llama's, for engines that launch kernel after kernel.
    """

    engine: str
    device: Device
    kernel: Kernel
    mixture: bool
    ranks: int = 1
    stages: int = 1
    build: str | None = None
    launches: float = 1.0


def setting_of(engine: str, device: Device, layout: Layout, spec: ModelSpec, *, ranks: int, stages: int) -> Setting:
    """The setting of an estimate, with the release that fmkit's rules are those of where older ones were measured too."""
    return Setting(
        engine=engine,
        device=device,
        kernel=kernel_of(layout),
        mixture=spec.is_mixture,
        ranks=ranks,
        stages=stages,
        build=RELEASES.get(engine) or _backend(engine, device),
        launches=launches_per_layer(spec) if engine in LAUNCH_OVERLAPS else 1.0,
    )


def _backend(engine: str, device: Device) -> str | None:
    """The backend that an estimate is for; None where the engine has none to choose from."""
    return BACKENDS.get(device.vendor) if engine == "llama.cpp" and device.device_class != "cpu" else None


def launch_overlaps(setting: Setting) -> bool:
    """Whether launching a layer hides behind the work of the one before; on a processor it is work itself."""
    return setting.engine in LAUNCH_OVERLAPS and setting.device.device_class != "cpu"


class Nominal(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the parts of one pass would take at nominal rates, in the order of PARTS; None: the matrix rate is unknown."""

    launch: float
    weights: float
    cache: float
    linear: float | None
    attention: float | None
    exchange: float
    sequence: float
    experts: float


def nominal(tower: TowerPass, setting: Setting, phase: Phase) -> Nominal:
    """Nominal seconds of the parts of a pass; weights, cache and operations are divided over the ranks of tensor parallel."""
    at_once = share_over_stages(tower.tokens, setting)
    device, ranks = setting.device, setting.ranks
    bandwidth = float(device.bandwidth_bytes_per_s or 0)
    rate = matrix_rate(device, setting.kernel, setting.engine)
    exchange = 0.0
    if ranks > 1:
        link = LINK_BYTES_PER_S.get(device.device_class, OTHER_LINK_BYTES_PER_S)
        moved = 4.0 * tower.tokens * tower.hidden_dim * (ranks - 1) / ranks
        exchange = 2 * tower.layers * (EXCHANGE_S + moved / link)
    return Nominal(
        launch=tower.layers * LAYER_S * setting.launches * at_once,
        weights=tower.weight_bytes / ranks / bandwidth * at_once,
        cache=tower.cache_bytes / min(ranks, 8) / bandwidth,
        linear=None if rate is None else (tower.operations - tower.attention_operations) / ranks / rate * at_once,
        attention=_attention_s(tower, rate, bandwidth, phase, ranks, at_once),
        exchange=exchange,
        sequence=tower.tokens * SEQUENCE_S if phase == "decode" else 0.0,
        experts=tower.experts / ranks * EXPERT_S * at_once if phase == "decode" else 0.0,
    )


def _attention_s(
    tower: TowerPass, rate: float | None, bandwidth: float, phase: Phase, ranks: int, at_once: float
) -> float | None:
    """Seconds of attention: of a prompt by its operations; of a decode step by what every query head reads of keys and values.

    With 2 bytes an element that is one byte per operation. Query heads that share keys and values read them from a cache of the chip:
    it costs less than main memory, and not nothing.
    """
    if phase == "decode":
        return tower.attention_operations / ranks / bandwidth
    return None if rate is None else tower.attention_operations / ranks / rate * at_once


def share_over_stages(tokens: int, setting: Setting) -> float:
    """Time of a pass over the layers of several cards, as a share of what one card would take for all of them.

    The steps of a long prompt follow each other through the stages: n steps over k stages take n + k - 1 turns instead of n * k.

    >>> from fmkit.machine import Device
    >>> card = Device(id="x", name="X", vendor="nvidia", device_class="consumer", memory_bytes=None, bandwidth_bytes_per_s=None)
    >>> four_cards = Setting(engine="llama.cpp", device=card, kernel="q4", mixture=False, stages=4)
    >>> [round(share_over_stages(tokens, four_cards), 3) for tokens in (1, 512, 1024, 4096)]
    [1.0, 1.0, 0.625, 0.344]
    """
    most = PROMPT_STEP_TOKENS.get(setting.engine)
    if most is None or setting.stages == 1:
        return 1.0
    steps, stages = max(1.0, tokens / most), min(setting.stages, MOST_STEPS_IN_FLIGHT)
    return (steps + stages - 1) / (steps * stages)


def program(setting: Setting) -> str:
    """The engine's name, with the release where an older one counts as a program of its own."""
    older = setting.engine in APART and setting.build not in (None, RELEASES[setting.engine])
    return f"{setting.engine} {setting.build}" if older else setting.engine


def _shares_releases(setting: Setting) -> bool:
    return setting.engine in RELEASES and setting.engine not in APART and setting.build is not None


def scopes(setting: Setting, phase: Phase, part: Part) -> tuple[str, ...]:
    """The scopes whose effects count for a part of a pass, from the widest to the narrowest.

    This is the path that an estimate falls back on: what the fit has no effect for is left out. An engine that launches whole graphs
    launches as many whatever the weights' width.
    """
    engine, device, kernel = program(setting), setting.device, setting.kernel
    memory, kind = memory_group(device), f"{device.vendor} {device.memory_kind}"
    widest = ("all", setting.engine, *((engine,) if engine != setting.engine else ()))
    if part in ("exchange", "sequence", "experts"):
        return (*widest, f"{engine} on {device.id}")
    release = (f"{engine}, release {setting.build}",) if _shares_releases(setting) else ()
    backend: tuple[str, ...] = ()
    if setting.build is not None and setting.engine not in RELEASES:
        backend = (f"{engine}, backend {setting.build}", f"{engine} on {device.id}, backend {setting.build}")
    if part in ("attention", "cache"):
        return (*widest, f"{engine}, {memory}", *release, *backend)
    mixture = "mixture" if setting.mixture else "dense"
    found: tuple[str, ...] = (
        *widest,
        f"{engine}, {memory}",
        *((f"{engine}, {kernel}",) if part != "launch" or setting.engine in LAUNCH_OVERLAPS else ()),
        f"{engine}, {mixture}",
        f"{engine} on {device.id}",
        *release,
        *(backend if phase == "prefill" else ()),
    )
    if part == "launch" or (part == "weights" and phase == "prefill"):
        return found
    found += (f"{engine}, {kind}", f"{engine}, {memory}, {kernel}", f"{engine} on {device.id}, {kernel}")
    if backend:
        found += (f"{backend[1]}, {mixture}",)
    if phase == "prefill" and part == "linear" and setting.stages > 1:
        found += (f"{engine}, {setting.stages} stages",)
    return found


def measured_on(setting: Setting) -> str:
    """The scope whose measurements make a prediction one of a measured device: the program on the device with the kernel."""
    return f"{program(setting)} on {setting.device.id}, {setting.kernel}"


def measured_like(setting: Setting) -> str:
    """The scope whose measurements make a prediction one of a class: the program on this kind of memory with the kernel."""
    return f"{program(setting)}, {memory_group(setting.device)}, {setting.kernel}"


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
        return joined(*seconds, overlaps=launch_overlaps(setting), decoding=phase == "decode")

    def launch_s(self, layers: int, setting: Setting, phase: Phase) -> float:
        """Seconds of a pass that are spent on launching layers."""
        return layers * LAYER_S * setting.launches * self.coefficient(setting, phase, "launch")

    def points(self, setting: Setting, phase: Phase) -> int:
        """Measurements of this engine on this device with this kernel."""
        return self.measured.get(f"{phase} {measured_on(setting)}", 0)

    def basis(self, setting: Setting, phase: Phase) -> SpeedBasis:
        """What a prediction rests on: measurements on this device, of its kind of memory and kernel, or of something else."""
        if setting.device.device_class == "cpu" and not setting.device.verified:
            return "extrapolated"  # its rates are assumed from its cores
        if setting.mixture and not self.measured.get(f"{phase} {program(setting)}, mixture", 0):
            return "extrapolated"
        if self.points(setting, phase):
            return "measured-device"
        return "class" if self.measured.get(f"{phase} {measured_like(setting)}", 0) else "extrapolated"

    def knows(self, engine: str) -> bool:
        """Whether anything was measured of the engine."""
        return any(self.measured.get(f"{phase} {engine}", 0) for phase in ("decode", "prefill"))

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


KNOWN: tuple[SpeedBasis, ...] = ("measured-device", "class")
"""Bases on which the program itself was measured with the kernel."""


def width_scopes(basis: str, setting: Setting) -> tuple[str, ...]:
    """The scopes whose widths a range is made of: predictions on a basis scatter more for some of them than for others.

    An extrapolation knows nothing of its engine: how strange the measured ones were to each other says nothing of the next.
    """
    mixture = "mixture" if setting.mixture else "dense"
    found = [f"{basis}, {mixture}", f"{basis}, {memory_group(setting.device)}"]
    if basis in KNOWN:
        found += [
            f"{basis}, {program(setting)}",
            f"{basis}, {program(setting)}, {mixture}",
            f"{basis}, weights {setting.kernel}",
        ]
    if setting.ranks > 1:
        found.append(f"{basis}, tensor parallel")
    return tuple(found)


def joined(
    launch: float,
    weights: float,
    cache: float,
    linear: float,
    attention: float,
    exchange: float,
    sequence: float,
    experts: float,
    *,
    overlaps: bool,
    decoding: bool = True,
) -> float:
    """Seconds of a pass from those of its parts: the longer of reading and computing, and what does not hide behind it.

    >>> round(joined(0.002, 0.010, 0.001, 0.0001, 0.0, 0.0, 0.0, 0.0, overlaps=False), 4)
    0.013
    >>> round(joined(0.002, 0.010, 0.001, 0.0001, 0.0, 0.0, 0.0, 0.0, overlaps=True), 4)
    0.011
    """
    read, computed = (weights + cache + attention, linear) if decoding else (weights + cache, linear + attention)
    side_by_side = [read, computed, *([launch] if overlaps else [])]
    core: float = sum(time**OVERLAP_POWER for time in side_by_side) ** (1 / OVERLAP_POWER)
    return core + exchange + sequence + experts + (0.0 if overlaps else launch)
