"""RoPE scaling of a config.json in words: from which length, by how much, and whether the stated limit has it already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def scaling_note(config: Mapping[str, Any]) -> str | None:
    """What to say of a model's RoPE scaling; None where there is none, or the config states no figures.

    >>> scaling_note({"max_position_embeddings": 131072,
    ...     "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}})
    'RoPE scaling llama3, trained at 8,192 tokens: the stated limit of 131,072 has it already'
    >>> scaling_note({"max_position_embeddings": 32768,
    ...     "rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8192}})
    'RoPE scaling yarn, 16 x 8,192 tokens: the stated limit of 32,768 does not have it yet'
    """
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
    factor = factor if isinstance(factor, int | float) and 1 < factor < 10_000 else 1
    if kind == "yarn" and factor * original > stated:
        return (
            f"RoPE scaling yarn, {factor:g} x {original:,} tokens: the stated limit of {stated:,} does not have it yet"
        )
    if stated <= original:
        return None
    return f"RoPE scaling {kind[:20]}, trained at {original:,} tokens: the stated limit of {stated:,} has it already"


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) and value else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None
