"""RoPE scaling of a config.json in words: from which length, by how much, and whether the stated limit has it already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class RopeScaling(msgspec.Struct, frozen=True, kw_only=True):
    """A model trained at `trained_tokens` and stretched by `factor` (None: not stated); `applied` says whether the stated limit has it."""

    kind: str
    factor: float | None
    trained_tokens: int
    stated_tokens: int
    applied: bool


def rope_scaling(config: Mapping[str, Any]) -> RopeScaling | None:
    """The RoPE scaling of a config.json; None where there is none, or the config states no figures."""
    text = _object(config.get("text_config")) or config
    settings = _object(text.get("rope_parameters")) or _object(text.get("rope_scaling"))
    if settings is None:
        return None
    kind = settings.get("rope_type") or settings.get("type")
    stated = _whole(text.get("max_position_embeddings"))
    original = _whole(settings.get("original_max_position_embeddings")) or _whole(
        text.get("original_max_position_embeddings")
    )
    if not isinstance(kind, str) or kind == "default" or stated is None or original is None:
        return None
    factor = settings.get("factor")
    factor = factor if isinstance(factor, int | float) and 1 < factor < 10_000 else None
    to_come = kind == "yarn" and (factor or 1) * original > stated
    if not to_come and stated <= original:
        return None
    return RopeScaling(
        kind=kind[:20], factor=factor, trained_tokens=original, stated_tokens=stated, applied=not to_come
    )


def scaling_note(config: Mapping[str, Any]) -> str | None:
    """What to say of a model's RoPE scaling; None where there is none, or the config states no figures.

    >>> scaling_note({"max_position_embeddings": 131072,
    ...     "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}})
    'RoPE scaling llama3, trained at 8,192 tokens: the stated limit of 131,072 has it already'
    >>> scaling_note({"max_position_embeddings": 32768,
    ...     "rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8192}})
    'RoPE scaling yarn, 16 x 8,192 tokens: the stated limit of 32,768 does not have it yet'
    """
    found = rope_scaling(config)
    if found is None:
        return None
    trained, stated = found.trained_tokens, found.stated_tokens
    if found.applied:
        return (
            f"RoPE scaling {found.kind}, trained at {trained:,} tokens: the stated limit of {stated:,} has it already"
        )
    return f"RoPE scaling yarn, {found.factor or 1:g} x {trained:,} tokens: the stated limit of {stated:,} does not have it yet"


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) and value else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None
