"""The scopes that effects and widths belong to, from the widest to the narrowest: the path that an estimate falls back on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fmkit.speed.kernels import memory_group, multiplies_in_int8
from fmkit.speed.setting import APART, LAUNCH_OVERLAPS, OLDER, RELEASES, program

if TYPE_CHECKING:
    from fmkit.speed.parts import Part, Phase
    from fmkit.speed.setting import Setting


def _shares_releases(setting: Setting) -> bool:
    return setting.engine in RELEASES and setting.engine not in APART and setting.build is not None


EXPERT_KERNELS = frozenset(("vllm", "sglang", "tensorrt-llm"))
"""Engines that multiply experts with kernels of their own (vLLM: layers/fused_moe), made for tokens that are dealt out: what these reach with a type of
weights says nothing of dense layers, nor they of them."""


def multiplied_by(setting: Setting) -> str:
    """The kernel, named as one of experts where the engine has such."""
    return f"{setting.kernel} experts" if setting.mixture and setting.engine in EXPERT_KERNELS else setting.kernel


def scopes(setting: Setting, phase: Phase, part: Part) -> tuple[str, ...]:
    """The scopes whose effects count for a part of a pass, from the widest to the narrowest.

    This is the path that an estimate falls back on: what the fit has no effect for is left out. An engine that launches whole graphs
    launches as many whatever the weights' width.
    """
    engine, device, kernel = program(setting), setting.device, multiplied_by(setting)
    memory, kind = memory_group(device), f"{device.vendor} {device.memory_kind}"
    widest = ("all", setting.engine, *((engine,) if engine != setting.engine else ()))
    if part in ("exchange", "sequence", "experts"):
        return (*widest, f"{engine} on {device.id}")
    release = (f"{engine}, release {setting.build}",) if _shares_releases(setting) else ()
    backend: tuple[str, ...] = ()
    if has_backend(setting):
        backend = (f"{engine}, backend {setting.build}", built_on(setting))
    if part in ("attention", "cache"):
        return (*widest, f"{engine}, {memory}", *release, *backend)
    mixture = "mixture" if setting.mixture else "dense"
    if phase == "prefill" and part == "linear":  # what of an engine whose prompts nobody measured is known
        widest = (*widest, f"all, {mixture}", f"all, {device.vendor}")
        kernel += _units(setting)
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
    if part == "linear":  # kernels that multiply are written for each vendor; reading memory is alike
        found += (f"{engine}, {device.vendor}",)
    found += (f"{engine}, {kind}", f"{engine}, {memory}, {kernel}", f"{engine} on {device.id}, {kernel}")
    if backend:
        found += (f"{backend[1]}, {mixture}",)
    if phase == "prefill" and part == "linear" and setting.stages > 1:
        found += (f"{engine}, {setting.stages} stages",)
    return found


def _units(setting: Setting) -> str:
    """What is said after the kernel of llama.cpp's block formats where others multiply them: 8-bit units of NVIDIA, vector units of processors."""
    if multiplies_in_int8(setting.device, setting.kernel, setting.engine):
        return " in int8"
    return " on processors" if setting.kernel in ("q8", "q4") and setting.device.device_class == "cpu" else ""


def has_backend(setting: Setting) -> bool:
    """Whether the setting's build is a backend, and no release."""
    return setting.build is not None and setting.engine not in RELEASES


def built_on(setting: Setting, build: str | None = None) -> str:
    """The scope of the program with a backend, the setting's own or another, on the device; weights have one for dense and mixture each."""
    return f"{program(setting)} on {setting.device.id}, backend {build or setting.build}"


def measured_on(setting: Setting) -> str:
    """The scope whose measurements make a prediction one of a measured device: the program on the device with the kernel."""
    return f"{program(setting)} on {setting.device.id}, {multiplied_by(setting)}"


def measured_of_vendor(setting: Setting) -> tuple[str, ...]:
    """The scopes whose measurements tell how the program, or an older release, does on devices of that vendor at all."""
    older = f"{setting.engine} {OLDER[setting.engine]}" if setting.engine in APART else program(setting)
    return f"{program(setting)}, {setting.device.vendor}", f"{older}, {setting.device.vendor}"


def measured_like(setting: Setting) -> str:
    """The scope whose measurements make a prediction one of a class: the program on this kind of memory with the kernel."""
    return f"{program(setting)}, {memory_group(setting.device)}, {multiplied_by(setting)}"


Rung = Literal["measured-device", "class", "extrapolated", "new-vendor"]
"""What a range rests on, down the path that an estimate falls back on: a basis, or that nobody measured the program on the vendor's devices."""

KNOWN: tuple[Rung, ...] = ("measured-device", "class")
"""Rungs on which the program itself was measured with the kernel."""


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
    if setting.batched:
        found.append(f"{basis}, {program(setting)}, batched" if basis in KNOWN else f"{basis}, batched")
    return tuple(found)
