"""What an engine's rules say of one model and workload: the lines beside the weights."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fmkit.sizing.estimate import MemoryLine


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one model in one engine, without the engine's runtime.

    `weights`, `cache` and `decode` are held while decoding; `prefill` is what processing the input holds beyond that.
    `reserved_bytes` is what the engine takes beyond need, `warnings` what its rules have to say. `budget_fraction` is set for
    an engine that fills a share of each device: it may use that much of it, and takes all of that.
    """

    cache_dtype: str
    encoder_tokens: int
    weights: tuple[MemoryLine, ...]
    cache: tuple[MemoryLine, ...]
    decode: tuple[MemoryLine, ...]
    prefill: tuple[MemoryLine, ...]
    reserved_bytes: int = 0
    budget_fraction: float | None = None
    warnings: tuple[str, ...] = ()


def total(lines: Iterable[MemoryLine]) -> int:
    """Bytes of all lines."""
    return sum(line.bytes for line in lines)
