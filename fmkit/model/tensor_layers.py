"""Which layers of a stack hold the tensors of a group: a spec counts equal tensors together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.attention import CompressedAttention, CrossAttention, EncoderAttention, FullAttention, LatentAttention
from fmkit.model.layers import parts_of
from fmkit.model.recurrent import NoMixer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.model.spec import Block, Stack, TensorGroup

_ATTENTION = FullAttention | LatentAttention | CompressedAttention | EncoderAttention | CrossAttention


def layers_with(group: TensorGroup, stack: Stack) -> tuple[int, ...]:
    """The layers that hold a group's tensors, one entry for each tensor.

    A group that is in every layer says so by its count; of the others the part of the model and the number of layers of
    each kind say which. Where they don't, the tensors are taken to be spread evenly.
    """
    total = stack.layers
    if not total:
        return ()
    if not group.count % total:
        return tuple(layer for layer in range(total) for _ in range(group.count // total))
    blocks = [stack.blocks[number] for number in stack.layer_blocks]
    tests = (*_by_part(group), *_by_block(stack))
    choices = [tuple(layer for layer, block in enumerate(blocks) if holds(block)) for holds in tests]
    exact = next((found for found in choices if len(found) == group.count), None)
    if exact is not None:
        return exact
    for found in choices:
        if found and not group.count % len(found):
            return tuple(layer for layer in found for _ in range(group.count // len(found)))
    return tuple(place * total // group.count for place in range(group.count))


def _by_part(group: TensorGroup) -> tuple[Callable[[Block], bool], ...]:
    """Which blocks a part of the model may be in, the likeliest first."""
    if group.part in ("experts", "router") or "expert" in group.name:
        return (_has_experts,)
    if group.part == "mlp":
        return (_is_dense, _has_experts)
    if group.part == "state":
        return (_has_state,)
    if group.part == "attention":
        return (_has_attention, _has_state)
    return (_has_attention, _has_state, _has_experts, _is_dense)


def _by_block(stack: Stack) -> tuple[Callable[[Block], bool], ...]:
    """One test for each kind of mixer of the stack: is it this one?"""
    kinds = {type(block.mixer) for block in stack.blocks}
    return tuple((lambda block, kind=kind: type(block.mixer) is kind) for kind in kinds)


def _has_experts(block: Block) -> bool:
    return block.mlp is not None and bool(block.mlp.experts)


def _is_dense(block: Block) -> bool:
    return block.mlp is not None and not block.mlp.experts


def _has_attention(block: Block) -> bool:
    return any(isinstance(part, _ATTENTION) for part in parts_of(block.mixer))


def _has_state(block: Block) -> bool:
    return any(not isinstance(part, _ATTENTION | NoMixer) for part in parts_of(block.mixer))
