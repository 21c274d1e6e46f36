"""Who computes on what: engine, device, kernel, division and release, all that what is reached of a rate can depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.engines.llama_cpp_backends import backends_of
from fmkit.speed.kernels import Kernel, kernel_of, memory_group
from fmkit.speed.launches import launches_per_layer

if TYPE_CHECKING:
    from fmkit.machine import Device
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec

LAUNCH_OVERLAPS = frozenset(("transformers", "autoawq", "autogptq", "pytorch-lightning", "deepspeed"))
"""Engines that launch kernel after kernel from Python: a GPU works while the next one is launched. Others launch whole graphs."""

RELEASES = {"transformers": "5", "vllm": "V1"}
"""The release that estimates are for, where measurements of older ones tell of another program: transformers 4 kept caches another way,
vLLM before 0.8 (V0) had another scheduler, sampler and kernels."""

OLDER = {"transformers": "4", "vllm": "V0"}
"""What earlier releases are called."""

APART = frozenset(("vllm",))
"""Engines whose older releases share no more with the present one than the effects of the engine: what V0 reached of a device or with a
kernel says nothing of V1."""

FLASH = " fa"
"""What follows a backend's name in the scopes of runs with flash attention, where rows of both were measured."""

FLASH_MEASURED = frozenset(("vulkan", "hip", "rocwmma"))
"""Backends whose rows say whether flash attention was on; those of others were not told apart."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Who computes on what: all that an effect can depend on.

    `build` is an engine's backend or major release where it is known; `launches` is what launching a layer of this model takes as a
    multiple of a Llama's, for engines that launch kernel after kernel; `batched` whether sequences run together.
    """

    engine: str
    device: Device
    kernel: Kernel
    mixture: bool
    ranks: int = 1
    stages: int = 1
    build: str | None = None
    launches: float = 1.0
    batched: bool = False


def setting_of(
    engine: str,
    device: Device,
    layout: Layout,
    spec: ModelSpec,
    *,
    ranks: int,
    stages: int,
    sequences: int = 1,
    backend: str | None = None,
    flash_attention: bool | None = None,
) -> Setting:
    """The setting of an estimate, with the release that fmkit's rules are those of where older ones were measured too.

    `backend` is llama.cpp's, by default what its release files bring for the device; `flash_attention` None was not said: on.
    """
    return Setting(
        engine=engine,
        device=device,
        kernel=kernel_of(layout),
        mixture=spec.is_mixture,
        ranks=ranks,
        stages=stages,
        build=RELEASES.get(engine) or (build_name(device, backend, flash_attention) if engine == "llama.cpp" else None),
        batched=sequences > 1,
        launches=launches_per_layer(spec) if engine in LAUNCH_OVERLAPS else 1.0,
    )


def build_name(device: Device, backend: str | None, flash_attention: bool | None) -> str | None:
    """llama.cpp's build as the measurements name it; None on a processor, where there is nothing to choose from.

    Rows of HIP on Instinct cards say "rocm", those of SYCL "xpu". Where nobody said whether flash attention is on it is, as in llama.cpp
    itself; rocWMMA is a way to compute it.

    >>> from fmkit.machine import Device
    >>> card = Device(id="x", name="X", vendor="amd", device_class="consumer", memory_bytes=1, bandwidth_bytes_per_s=None)
    >>> build_name(card, None, None), build_name(card, "hip", True), build_name(card, "rocwmma", None)
    ('vulkan fa', 'hip fa', 'rocwmma fa')
    """
    name = backend or next(iter(backends_of(device)), None)
    if name == "hip" and memory_group(device) == "hbm":
        return "rocm"
    if name == "sycl":
        return "xpu"
    if name in FLASH_MEASURED and (flash_attention is not False or name == "rocwmma"):
        return f"{name}{FLASH}"
    return None if name == "cpu" else name


def other_builds(setting: Setting) -> tuple[str, ...]:
    """The builds of llama.cpp that a device can be measured with beside the setting's own."""
    device = setting.device
    found = (build_name(device, backend, flash) for backend in backends_of(device) for flash in (False, True))
    return tuple(build for build in dict.fromkeys(found) if build is not None and build != setting.build)


def launch_overlaps(setting: Setting) -> bool:
    """Whether launching a layer hides behind the work of the one before; on a processor it is work itself."""
    return setting.engine in LAUNCH_OVERLAPS and setting.device.device_class != "cpu"


def program(setting: Setting) -> str:
    """The engine's name, with the release where an older one counts as a program of its own."""
    older = setting.engine in APART and setting.build not in (None, RELEASES[setting.engine])
    return f"{setting.engine} {setting.build}" if older else setting.engine
