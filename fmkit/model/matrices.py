"""The weight matrices inside a group of tensors, and the numbers a quantiser keeps for blocks of one of them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.units import ceil_div

if TYPE_CHECKING:
    from fmkit.model.spec import TensorGroup


class Matrices(NamedTuple):
    """`number` matrices of one shape inside one tensor; a Linear is one, fused experts are many."""

    number: int
    outputs: int
    inputs: int


def matrices(group: TensorGroup, *, joined: bool = False) -> Matrices:
    """The matrices of one tensor of `group`, as a checkpoint stores them apart: experts one by one, gate and up as two (one, if `joined`).

    >>> from fmkit.model.spec import TensorGroup
    >>> matrices(TensorGroup(name="mlp.experts.gate_up_proj", part="experts", module="parameter", shape=(8, 28672, 4096)))
    Matrices(number=16, outputs=14336, inputs=4096)
    """
    shape = group.shape
    if group.module == "conv1d":
        return Matrices(1, shape[-1], shape[0])
    if group.part == "experts" and len(shape) > 2:
        outputs, inputs = (shape[-1], shape[-2]) if group.inputs_first else (shape[-2], shape[-1])
        pairs = 2 if "gate_up" in group.name and not outputs % 2 and not joined else 1
        return Matrices(prod(shape[:-2]) * pairs, outputs // pairs, inputs)
    return Matrices(1, shape[0], prod(shape[1:]))


class ScaleLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers kept for each started block of one matrix: `bytes` a block.

    A block is `params` weights counted on through the matrix, or `inputs` x `outputs` of it, 0 standing for that whole
    side. Where `shrinks_by` is set and the inputs are no multiple of the block's, the block is that much narrower until
    they are, and at last the whole row (optimum-quanto).
    """

    bytes: int
    params: int = 0
    inputs: int = 0
    outputs: int = 0
    shrinks_by: int = 0

    def matrix_bytes(self, outputs: int, inputs: int) -> int:
        """Bytes for one matrix.

        >>> ScaleLevel(inputs=128, outputs=1, bytes=2).matrix_bytes(4096, 11008)  # 86 groups in each of 4096 rows
        704512
        >>> ScaleLevel(inputs=128, outputs=1, bytes=4, shrinks_by=32).matrix_bytes(576, 576)  # groups of 96
        13824
        """
        if self.params:
            return ceil_div(outputs * inputs, self.params) * self.bytes
        wide = self._inputs_for(inputs) or inputs
        return ceil_div(inputs, wide) * ceil_div(outputs, self.outputs or outputs) * self.bytes

    def _inputs_for(self, inputs: int) -> int:
        if not self.shrinks_by:
            return self.inputs
        if inputs <= self.inputs:
            return 0
        width = self.inputs
        while inputs % width and width > self.shrinks_by:
            width -= self.shrinks_by
        return 0 if inputs % width else width
