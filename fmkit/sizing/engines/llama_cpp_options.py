"""The options of llama.cpp that change memory or speed, read and checked. Names and defaults are those of llama-server; `backend` is the build's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.ggml import TYPES, GgmlType
from fmkit.sizing.engines.llama_cpp_backends import ALSO_CALLED, BACKENDS
from fmkit.sizing.engines.options import MOST, choice, flag, refuse_unknown, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.sizing.engines.llama_cpp_backends import Backend

CACHE_TYPES = ("f16", "f32", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
"""What keys and values may be stored in, the default first."""

OPTIONS = (
    "backend", "cache_type_k", "cache_type_v", "flash_attention", "gpu_layers", "imatrix", "kv_unified", "n_cpu_moe", "outputs", "repack", "swa_full",
    "ubatch",
)  # fmt: skip

AUTO = -1
"""`gpu_layers` for as many layers as the device has room for, `n_cpu_moe` for as few as it has none for. Name and number are llama-server's."""

EVERY_LAYER = MOST
"""`n_cpu_moe` for the experts of all layers."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's options, read and checked. `gpu_layers` None means all, the output matrix included; AUTO as many as fit.

    The experts of the first `n_cpu_moe` layers stay in main memory while all else of those layers is on the device.
    `backend` None is the device's default.
    """

    key_type: GgmlType
    value_type: GgmlType
    ubatch_tokens: int = 512
    swa_full: bool = False
    kv_unified: bool = False
    gpu_layers: int | None = None
    n_cpu_moe: int = 0
    flash_attention: bool = True
    all_outputs: bool = False
    imatrix: bool = False
    repack: bool = True
    backend: Backend | None = None


DEFAULTS = Settings(key_type=TYPES["F16"], value_type=TYPES["F16"])


def settings_from(options: Mapping[str, str]) -> Settings:
    """The options as typed; UsageError for an unknown name or value."""
    if not options:
        return DEFAULTS
    refuse_unknown(options, OPTIONS, "llama.cpp")
    settings = Settings(
        key_type=_cache_type(options, "cache_type_k"),
        value_type=_cache_type(options, "cache_type_v"),
        ubatch_tokens=whole(options, "ubatch", 512, least=1),
        swa_full=flag(options, "swa_full", default=False),
        kv_unified=flag(options, "kv_unified", default=False),
        gpu_layers=_gpu_layers(options),
        n_cpu_moe=_n_cpu_moe(options),
        flash_attention=flag(options, "flash_attention", default=True),
        all_outputs=choice(options, "outputs", ("last", "all")) == "all",
        imatrix=flag(options, "imatrix", default=False),
        repack=flag(options, "repack", default=True),
        backend=_backend(options),
    )
    if settings.value_type.block_weights > 1 and not settings.flash_attention:
        raise UsageError("llama.cpp quantises values with flash attention only", where="--engine-option cache_type_v")
    if settings.backend == "rocwmma" and not settings.flash_attention:
        raise UsageError(
            "rocWMMA is a way to compute flash attention: without it the build is backend=hip",
            where="--engine-option backend",
        )
    return settings


def _backend(options: Mapping[str, str]) -> Backend | None:
    if "backend" not in options:
        return None
    name = options["backend"].casefold()
    for known in BACKENDS:
        if known == ALSO_CALLED.get(name, name):
            return known
    raise UsageError(f"unknown backend {options['backend']!r}: {', '.join(BACKENDS)}", where="--engine-option backend")


def _gpu_layers(options: Mapping[str, str]) -> int | None:
    """A number of layers, `auto` (or -1) for as many as fit, `all` (or -2, the default here)."""
    value = options.get("gpu_layers", "all").casefold()
    if value in ("auto", "-1"):
        return AUTO
    return None if value in ("all", "-2") else whole(options, "gpu_layers", 0, least=0)


def _n_cpu_moe(options: Mapping[str, str]) -> int:
    """A number of layers counted from the first, `auto` for as few as are enough, `all` (llama-server's --cpu-moe)."""
    value = options.get("n_cpu_moe", "0").casefold()
    if value == "auto":
        return AUTO
    return EVERY_LAYER if value == "all" else whole(options, "n_cpu_moe", 0, least=0)


def _cache_type(options: Mapping[str, str], name: str) -> GgmlType:
    return TYPES[choice(options, name, CACHE_TYPES).upper()]
