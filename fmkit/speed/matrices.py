"""What of a model's tower is multiplied, activated and scanned, in the terms that calls are timed in on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.layers import parts_of
from fmkit.model.recurrent import StateSpace
from fmkit.model.spec import StackRole
from fmkit.sizing.training.styles import style_of
from fmkit.speed.operations import NOT_MULTIPLIED, tower_of

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

MATRIX_DIMS = 2


class Matrices(msgspec.Struct, frozen=True, kw_only=True):
    """How a tower's weights are multiplied: shares of its matrices, and weights of the head, which a prompt's last token alone passes through.

    `narrowing` matrices have no more outputs than inputs, `transposed` ones lie inputs first (GPT-2). `head_weights` is 0 where every token
    passes through the head. `calls` is how many matrices there are, all experts of a layer counted as one; `scanned` is the state of all
    selective scans, elements of one sequence, `scans` their number. `activated` are the elements of a token that a GELU spelt out takes.
    """

    calls: int = 0
    narrowing: float = 0.0
    transposed: float = 0.0
    head_weights: int = 0
    scanned: int = 0
    scans: int = 0
    activated: int = 0


def matrices_of(spec: ModelSpec, role: StackRole) -> Matrices:
    """The matrices of one tower of a model."""
    found = {"narrowing": 0, "transposed": 0, "all": 0, "calls": 0}
    for group in spec.tensors:
        if group.part in NOT_MULTIPLIED or tower_of(group, spec) != role or len(group.shape) < MATRIX_DIMS:
            continue
        outputs, inputs = group.shape[-2:]
        found["all"] += group.elements
        found["calls"] += group.count
        if group.module == "conv1d":
            found["transposed"] += group.elements
        elif outputs <= inputs:
            found["narrowing"] += group.elements
    stack = spec.stack(role)
    states = [] if stack is None else [(block, part) for block in stack.blocks for part in parts_of(block.mixer)]
    return Matrices(
        calls=found["calls"],
        narrowing=found["narrowing"] / max(1, found["all"]),
        transposed=found["transposed"] / max(1, found["all"]),
        head_weights=_head_weights(spec) if role == "decoder" and spec.logits_to_keep else 0,
        scanned=sum(
            block.count * part.inner_dim * part.state_dim for block, part in states if isinstance(part, StateSpace)
        ),
        scans=sum(block.count for block, part in states if isinstance(part, StateSpace)),
        activated=_activated(spec, role),
    )


def _activated(spec: ModelSpec, role: StackRole) -> int:
    """Elements per token that go into a GELU spelt out in operations: none of other activations, which are one call each."""
    stack = spec.stack(role)
    mlps = [] if stack is None else [(block.count, block.mlp) for block in stack.blocks if block.mlp is not None]
    model_type = spec.model_type if stack is None else stack.implementation or spec.model_type
    return sum(
        count * mlp.ffn_dim for count, mlp in mlps if style_of(model_type, gated=mlp.gated)[0].activation == "gelu-new"
    )


def _head_weights(spec: ModelSpec) -> int:
    """Weights of the projection to the vocabulary, its own or the embedding's."""
    parts = ("embedding",) if spec.tied_head else ("head",)
    return max((group.elements for group in spec.tensors if group.part in parts), default=0)
