"""NVIDIA ModelOpt: hf_quant_config.json, or the same facts in config.json; one algorithm, or one for each module."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import Layout
from fmkit.model.quantised import schemes
from fmkit.model.quantised.names import layers_meant, wildcard

if TYPE_CHECKING:
    from fmkit.model.quantised.fields import Fields
    from fmkit.model.spec import ModelSpec

_ALGORITHMS: dict[str, Callable[[], Layout]] = {
    "fp8": lambda: schemes.fp8_tensor(inputs=1),
    "fp8_pb_wo": lambda: schemes.fp8_block(128, 128),
    "fp8_per_channel_per_token": lambda: schemes.scheme("fp8-channel", "FP8, one scale per row", 8, schemes.per_row(4)),
    "nvfp4": schemes.nvfp4,
    "nvfp4_awq": schemes.nvfp4,
    "w4a16_nvfp4": lambda: schemes.nvfp4(inputs=False),
    "mxfp8": lambda: schemes.mx(8),
    "mxfp4": lambda: schemes.mx(4),
}
"""What each `quant_algo` stores."""


def read(config: Fields, spec: ModelSpec) -> Layout:
    """The algorithm of all modules that are not excluded; of MIXED_PRECISION those of `quantized_layers`."""
    algorithm = config.text("quant_algo", default="")
    layers = max(stack.layers for stack in spec.stacks)
    excluded = layers_meant(config.names("exclude_modules", "ignore") or (), spec.tensors, wildcard, layers)
    if algorithm != "mixed_precision":
        return msgspec.structs.replace(_algorithm(config), kept=excluded)
    by_layer = config.inner("quantized_layers")
    if by_layer is None:
        config.refuse("quantized_layers", "is needed for MIXED_PRECISION")
    named: dict[str, tuple[Fields, list[str]]] = {}
    for module in by_layer.values:
        settings = by_layer.inner(module)
        if settings is not None:
            named.setdefault(settings.text("quant_algo", default="") or "", (settings, []))[1].append(module)
    found = []
    for settings, modules in named.values():
        meant = layers_meant(modules, spec.tensors, wildcard, layers)
        found.append(
            msgspec.structs.replace(
                _algorithm(settings), chosen=meant, keeps_head=not any("head" in name for name in meant)
            )
        )
    if not found or not any(layout.chosen for layout in found):
        config.refuse("quantized_layers", "names no module of this model")
    return msgspec.structs.replace(
        found[0],
        kept=excluded,
        others=tuple(found[1:]),
        id="modelopt-mixed",
        name=" and ".join(layout.name for layout in found),
    )


def _algorithm(config: Fields) -> Layout:
    make = _ALGORITHMS.get(config.text("quant_algo", default="") or "")
    if make is None:
        config.refuse("quant_algo")
    return make()


def cache_type(config: Fields) -> str | None:
    """The type the repository asks the cache to have, in words; None where it leaves that to the engine."""
    return config.text("kv_cache_quant_algo") or ("fp8" if config.values.get("kv_cache_scheme") else None)
