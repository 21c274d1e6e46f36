"""What models with a tower and a language model share: finding the language model's lineage, the tower's layers, the spec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

import fmkit.model.architectures
from fmkit.model.architectures.decoder import config_dtype, unknown_class
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import Kind, Stack

IMAGE_SIDE = 1024
"""Pixels of a side of the square image that is counted, for towers that take an image at its own size."""


def language_model(
    config: ConfigReader, tensors: Tensors, *, default_type: str, tied: bool, field: str = "text_config"
) -> TextModel:
    """The language model inside, by the reader of its own lineage; `tied` is the outer class's default.

    The head is tied where the outer or the inner config says so.
    """
    text_config = config.part(field)
    kind = text_config.model_type or default_type
    module = fmkit.model.architectures.lineage_of(kind)
    build = getattr(module, "text_model", None)
    if build is None:
        raise config.unknown(f"text model of type {kind[:60]!r} is not understood")
    text: TextModel = build(text_config, tensors)
    ties = text.tied or config.flag("tie_word_embeddings", default=tied)
    stack = text.stack
    if stack.implementation is None:
        stack = msgspec.structs.replace(stack, implementation=kind)
    return replace(text, stack=stack, tied=ties)


def checked_name(config: ConfigReader, *known: str) -> str:
    """The class that the config names, which must be one of `known`; the first where it names none."""
    name = config.class_name or known[0]
    if name not in known:
        raise unknown_class(config, ", ".join(known))
    return name


def multimodal_spec(
    config: ConfigReader,
    tensors: Tensors,
    text: TextModel,
    towers: tuple[Stack, ...],
    *,
    name: str,
    image_tokens: int | None,
    kind: Kind = "vision-language",
    logits_to_keep: bool = True,
    notes: tuple[str, ...] = (),
) -> ModelSpec:
    """The spec of a language model with towers, once all tensors are built."""
    dtype, dtype_notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind=kind,
        stacks=(text.stack, *towers),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=text.context_is_hard,
        tied_head=text.tied,
        logits_to_keep=logits_to_keep,
        positions=text.positions,
        image_tokens=image_tokens,
        embedding_dim=text.stack.hidden_dim,
        notes=(*dtype_notes, *text.notes, *notes),
    )


def tower_blocks(
    config: ConfigReader, hidden: int, query: int, ffn: int, layers: int, *, gated: bool = False, heads_name: str
) -> list[tuple[EncoderAttention, Mlp]]:
    """The blocks of a tower: attention in both directions, a feed-forward."""
    dim = config.divide("hidden_size", hidden, heads_name, query)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    return [(attention, Mlp(ffn_dim=ffn, gated=gated))] * layers


def side_of(config: ConfigReader, name: str, *, default: int) -> int:
    """A size that may be given as one number or as height and width, which must be equal."""
    if not config.is_list(name):
        return config.size(name, default=default)
    sides = set(config.sizes(name, minimum=1) or ())
    if len(sides) != 1:
        raise config.unknown(f"{name} is not square, which is not understood")
    return sides.pop()


def square_patches(patch: int, merge: int, side: int = IMAGE_SIDE) -> int:
    """Patches of a square image, resized so that whole groups of merge x merge patches cover it.

    >>> square_patches(14, 2), square_patches(16, 2)
    (5476, 4096)
    """
    groups = max(1, round(side / (patch * merge)))
    return (groups * merge) ** 2


def sized_note(tokens: int) -> str:
    """What is assumed of an image that is taken at its own size."""
    return f"an image is taken at its own size; {tokens:,} tokens are counted, for {IMAGE_SIDE} x {IMAGE_SIDE} pixels"
