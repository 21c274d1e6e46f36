"""The options of transformers that change memory, read and checked. Names and defaults are those of `generate` and its caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.errors import UsageError
from fmkit.sizing.engines.options import choice, length, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

CacheKind = Literal["dynamic", "static", "quantized"]
Backend = Literal["quanto", "hqq", "fp8"]

BITS = {"quanto": (4, 2), "hqq": (4, 8, 2), "fp8": (8,)}
"""Bits that each backend of the quantised cache takes, its default first. HQQ's 3 bits fail in transformers 5.23; its 1 bit nobody wants."""

KV_DTYPES: dict[str, tuple[Backend, int]] = {
    "int8": ("hqq", 8), "int4": ("quanto", 4), "int2": ("quanto", 2), "fp8": ("fp8", 8),
}  # fmt: skip
"""What `--kv-dtype` stands for."""

OPTIONS = ("backend", "cache", "kv_dtype", "logits", "max_cache_len", "nbits", "prefill_chunk_size", "q_group_size", "residual_length")  # fmt: skip


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's options. `max_cache_tokens` is set for a static cache, `chunk_tokens` where the prompt is read in chunks."""

    cache: CacheKind = "dynamic"
    max_cache_tokens: int = 0
    backend: Backend = "quanto"
    bits: int = 4
    group: int = 64
    residual_tokens: int = 128
    all_logits: bool = False
    chunk_tokens: int | None = None


DEFAULTS = Settings()


def settings_from(options: Mapping[str, str], context_tokens: int) -> Settings:
    """The options as typed, for a cache that is to hold `context_tokens`; UsageError for an unknown name or value.

    >>> settings_from({"kv_dtype": "int4"}, 4096).cache
    'quantized'
    """
    if not options:
        return DEFAULTS
    refuse_unknown(options, OPTIONS, "transformers")
    cache, backend, bits = _cache(options)
    longest = max(context_tokens, length(options, "max_cache_len", context_tokens))  # as `generate` takes it
    chunk = length(options, "prefill_chunk_size", 0) or None
    if chunk is not None and cache != "dynamic":
        raise UsageError("prefill in chunks is sized with the dynamic cache only", where="--engine-option")
    return Settings(
        cache=cache,
        max_cache_tokens=longest if cache == "static" else 0,
        backend=backend,
        bits=bits,
        group=length(options, "q_group_size", DEFAULTS.group),
        residual_tokens=length(options, "residual_length", DEFAULTS.residual_tokens),
        all_logits=choice(options, "logits", ("last", "all")) == "all",
        chunk_tokens=chunk,
    )


def _cache(options: Mapping[str, str]) -> tuple[CacheKind, Backend, int]:
    """Kind, backend and bits of the cache; a setting of one kind asks for that kind."""
    if "kv_dtype" in options:
        backend, bits = KV_DTYPES[choice(options, "kv_dtype", tuple(KV_DTYPES))]
        return "quantized", backend, bits
    implied = (
        "quantized" if {"backend", "nbits"} & set(options) else "static" if "max_cache_len" in options else "dynamic"
    )
    asked = choice(
        options, "cache", (implied, *(kind for kind in ("dynamic", "static", "quantized") if kind != implied))
    )
    kind: CacheKind = "static" if asked == "static" else "quantized" if asked == "quantized" else "dynamic"
    if implied not in (kind, "dynamic"):
        raise UsageError(
            f"a {kind} cache has no {'max_cache_len' if implied == 'static' else 'backend or nbits'}",
            where="--engine-option",
        )
    name = choice(options, "backend", ("quanto", "hqq", "fp8"))
    backend = "hqq" if name == "hqq" else "fp8" if name == "fp8" else "quanto"
    bits = int(choice(options, "nbits", tuple(str(count) for count in BITS[backend])))
    return kind, backend, bits
