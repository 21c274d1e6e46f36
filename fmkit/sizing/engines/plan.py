"""What an engine's rules say of one model and workload: the lines beside the weights."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fmkit.sizing.estimate import MemoryLine


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Cache and working memory of one model in one engine.

    `cache` and `decode` are held while decoding; `prefill` is what processing the input holds beyond that.
    """

    cache_dtype: str
    encoder_tokens: int
    cache: tuple[MemoryLine, ...]
    decode: tuple[MemoryLine, ...]
    prefill: tuple[MemoryLine, ...]


def total(lines: Iterable[MemoryLine]) -> int:
    """Bytes of all lines."""
    return sum(line.bytes for line in lines)
