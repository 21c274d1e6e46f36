"""Who computes on what: engine, device, kernel, division and release, all that what is reached of a rate can depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.speed.kernels import Kernel, kernel_of
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

BACKENDS = {"nvidia": "cuda", "apple": "metal", "amd": "vulkan", "intel": "vulkan"}
"""The backend of llama.cpp that estimates are for, by vendor: what its release files bring for a card of that vendor."""


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
    engine: str, device: Device, layout: Layout, spec: ModelSpec, *, ranks: int, stages: int, sequences: int = 1
) -> Setting:
    """The setting of an estimate, with the release that fmkit's rules are those of where older ones were measured too."""
    return Setting(
        engine=engine,
        device=device,
        kernel=kernel_of(layout),
        mixture=spec.is_mixture,
        ranks=ranks,
        stages=stages,
        build=RELEASES.get(engine) or _backend(engine, device),
        batched=sequences > 1,
        launches=launches_per_layer(spec) if engine in LAUNCH_OVERLAPS else 1.0,
    )


def _backend(engine: str, device: Device) -> str | None:
    """The backend that an estimate is for; None where the engine has none to choose from."""
    return BACKENDS.get(device.vendor) if engine == "llama.cpp" and device.device_class != "cpu" else None


def launch_overlaps(setting: Setting) -> bool:
    """Whether launching a layer hides behind the work of the one before; on a processor it is work itself."""
    return setting.engine in LAUNCH_OVERLAPS and setting.device.device_class != "cpu"


def program(setting: Setting) -> str:
    """The engine's name, with the release where an older one counts as a program of its own."""
    older = setting.engine in APART and setting.build not in (None, RELEASES[setting.engine])
    return f"{setting.engine} {setting.build}" if older else setting.engine
