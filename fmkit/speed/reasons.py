"""What a speed rests on, in words: the share of the device's rates, what launching takes, and where that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.sizing.engines.llama_cpp_backends import BACKENDS_NAMED, backends_of
from fmkit.speed.kernels import WEIGHTS_NAMED, not_native
from fmkit.speed.scopes import has_backend
from fmkit.speed.setting import APART, FLASH, FLASH_MEASURED, RELEASES
from fmkit.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmkit.machine import Device
    from fmkit.speed.estimate import Range
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.parts import Phase
    from fmkit.speed.setting import Setting
    from fmkit.speed.timing import Timing


def reason_of(
    timing: Timing,
    towers: Sequence[TowerPass],
    step: TowerPass | None,
    reads: Range | None,
    steps: Range | None,
    dtype: str,
) -> str:
    """The words for passes over `towers`, `reads` of them a second, and for decode steps, `steps` a second.

    What decodes is explained by its steps, and the first token where that rests on something else. `dtype` is the type of what is not quantised.
    """
    setting = timing.setting
    found = [_here(timing, towers, step)] if timing.here is not None else [*_fitted(timing, towers, step, reads, steps)]
    if timing.host_step_s:
        found.append(f"{timing.host_step_s:.3g} s a step for weights outside of the device ({timing.beside.rates})")
    if timing.untimed_scan:
        found.append(f"no time to the first token: {UNTIMED_SCAN}")
    caution = not_native(setting.device, setting.kernel, dtype, setting.engine)
    return "; ".join([*found, *([caution] if caution else [])])


def _here(timing: Timing, towers: Sequence[TowerPass], step: TowerPass | None) -> str:
    calls = "kernels of llama.cpp" if timing.setting.engine == "llama.cpp" else "torch calls"
    return f"{calls} timed on this machine, {_launching(timing, towers, step, ' of them')}"


def _fitted(
    timing: Timing, towers: Sequence[TowerPass], step: TowerPass | None, reads: Range | None, steps: Range | None
) -> Iterator[str]:
    decodes = step is not None
    passes, rate = ((step,), steps) if step is not None else (towers, reads)
    share = None if rate is None else timing.share_of_roof(passes, 1 / rate.median, decoding=decodes)
    launching = _launching(timing, towers, step)
    roof = _roof(timing.setting.device, decodes=decodes) + (" for what it holds" if timing.host_step_s else "")
    yield f"{format_percent(share, digits=0)} of {roof}, {launching}" if share is not None else launching
    where = _where(timing, "decode" if decodes else "prefill")
    yield f"{where} (fit of {timing.fit.date} to {timing.fit.rows:,} measurements)"
    if reads is None and not timing.untimed_scan:
        yield f"no time to the first token: {_no_matrix_rate(timing.setting)}"
    elif reads is not None and decodes and (own := _where(timing, "prefill")) != where:
        yield f"first token: {own}"
    yield from _build(timing, "decode" if decodes else "prefill")


UNTIMED_SCAN = "nobody timed the scan of the state on this processor: run fmkit hardware measure --thorough"


def _no_matrix_rate(setting: Setting) -> str:
    """Why no rate is known to read a prompt at, and on a processor what tells it."""
    device, engine = setting.device, setting.engine
    if device.device_class != "cpu":
        return f"the matrix rate of {device.name} is unknown"
    if engine == "llama.cpp":
        return "a class of memory says nothing of cores: name a processor (fmkit hardware list), or run fmkit hardware measure --thorough on it"
    instead = ", or name --engine llama.cpp" if "vector" in device.flops_per_s else ""
    why = f"{engine} was measured on one processor only, which tells of no other's library"
    return f"{why}: run fmkit hardware measure on it{instead}"


def _roof(device: Device, *, decodes: bool) -> str:
    """The device's rate; of a processor of this machine, with what it is: measured here, or assumed from its cores."""
    what, fact = ("bandwidth", "bandwidth_gb_s") if decodes else ("matrix rate", "tflops")
    source = device.sources.get(fact) if device.id == "this-machine" else None
    return f"{device.name}'s {what}{f' ({source})' if source else ''}"


def _launching(timing: Timing, towers: Sequence[TowerPass], step: TowerPass | None, of_them: str = "") -> str:
    passes = towers if step is None else (step,)
    launch_s = sum(timing.launch_s(one, decoding=step is not None) for one in passes)
    return f"{launch_s * 1000:.3g} ms{of_them} to launch {sum(one.layers for one in passes)} layers"


def _where(timing: Timing, phase: Phase) -> str:
    """Where the efficiency of a phase was measured."""
    setting, basis = timing.setting, timing.fit.basis_of_build(timing.setting, phase)
    if basis == "measured-device":
        count = timing.fit.points(setting, phase)
        name = f"{setting.engine} {RELEASES[setting.engine]}" if setting.engine in APART else setting.engine
        return f"{count} measurements of {name} on this device with {WEIGHTS_NAMED[setting.kernel]} weights"
    if basis == "class":
        return f"measured on others with this kind of memory and {WEIGHTS_NAMED[setting.kernel]} weights"
    return "extrapolated from other devices and kernels"


def _build(timing: Timing, phase: Phase) -> Iterator[str]:
    """Which build of llama.cpp the figures hold for, and how to ask for others."""
    build = timing.setting.build
    name = next((name for backend, name in BACKENDS_NAMED.items() if backend == timing.backend), None)
    if name is None or build is None or not has_backend(timing.setting):
        return
    points = timing.fit.build_points(timing.setting, phase)
    told = f" ({points} measurements on this device)" if points else ""
    if timing.fit.other_builds_only(timing.setting, phase):
        told = " (this device was measured with others)"
    elif not timing.fit.knows_build(timing.setting, phase):
        told = " (nobody measured that on a device like this)"
    yield f"for the {name} build{_flash(build)}{told}"
    others = _others(timing, build)
    if others:
        yield f"others by fmkit vram --engine-option {', '.join(others)}"


def _flash(build: str) -> str:
    if build.endswith(FLASH):
        return " with flash attention"
    return " without flash attention" if build in FLASH_MEASURED else ""


def _others(timing: Timing, build: str) -> list[str]:
    """Options that ask for other figures: flash attention where it is told apart, the vendor's own interface where Vulkan is the default."""
    known = backends_of(timing.setting.device)
    flash = ["flash_attention=off"] if build.endswith(FLASH) and timing.backend != "rocwmma" else []
    others = known[1:] if timing.backend == "vulkan" == next(iter(known), None) else ()
    return [*flash, *[f"backend={name}" for name in others]]
