"""What each optimiser keeps for every trained tensor, and what it makes while it steps."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.units import ceil_div

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_BYTES = 4
"""torch.optim keeps the count of steps of each tensor as one float32."""

RMS_BYTES = 4
"""transformers' Adafactor keeps the size of each tensor's weights as one float32."""

BLOCK_ELEMENTS = 256
SMALLEST_8BIT = 4096
QUANTILE_MAPS = 2 * 256 * 4
"""bitsandbytes: elements per block scale, elements below which a state stays float32, and the two maps of 256 float32."""


class Trained(msgspec.Struct, frozen=True):
    """`count` trained tensors of one shape, `element_bytes` an element."""

    shape: tuple[int, ...]
    count: int
    element_bytes: int

    @property
    def elements(self) -> int:
        """Elements of all of them."""
        return prod(self.shape) * self.count

    @property
    def bytes(self) -> int:
        """Bytes of all of them, which are also the bytes of their gradients."""
        return self.elements * self.element_bytes


class Optimiser(msgspec.Struct, frozen=True, kw_only=True):
    """An optimiser by the name people type."""

    name: str
    reason: str
    source: str


OPTIMISERS: dict[str, Optimiser] = {
    "adamw": Optimiser(
        name="AdamW, fused",
        reason="two moments in the weights' type and one float32 step a tensor; the fused kernel makes nothing beside them",
        source="torch 2.13 torch.optim.AdamW(fused=True), the default of transformers 5.23's Trainer",
    ),
    "adamw-foreach": Optimiser(
        name="AdamW, foreach",
        reason="two moments in the weights' type and one float32 step a tensor; all square roots are held at once in a step",
        source="torch 2.13 torch.optim.AdamW(foreach=True), torch's own default on a GPU",
    ),
    "adamw-8bit": Optimiser(
        name="8-bit AdamW",
        reason="two moments of one byte with a float32 scale per 256; tensors below 4,096 elements keep float32",
        source="bitsandbytes 0.50 optim.AdamW8bit",
    ),
    "adafactor": Optimiser(
        name="Adafactor",
        reason="one float32 per row and per column of a matrix, one per element of a vector",
        source="transformers 5.23 Adafactor without first moment",
    ),
    "sgd": Optimiser(name="SGD", reason="no state", source="torch 2.13 torch.optim.SGD"),
    "sgd-momentum": Optimiser(
        name="SGD with momentum",
        reason="one momentum in the weights' type",
        source="torch 2.13 torch.optim.SGD(momentum=0.9)",
    ),
}


def state_bytes(optimiser: str, tensors: Sequence[Trained]) -> int:
    """Bytes held between steps.

    >>> state_bytes("adamw", [Trained((4096, 4096), 2, 2)])  # two bfloat16 matrices: 2 x 2 moments x 32 MiB + 8
    134217736
    >>> state_bytes("adamw-8bit", [Trained((4096, 4096), 2, 2)])  # 2 x 2 x (16 MiB + 65,536 scales of 4 B) + the maps
    68159488
    """
    total = sum(_one_state(optimiser, tensor) * tensor.count for tensor in tensors)
    eight_bit = optimiser == "adamw-8bit" and any(prod(tensor.shape) >= SMALLEST_8BIT for tensor in tensors)
    return total + (QUANTILE_MAPS if eight_bit else 0)


def _one_state(optimiser: str, tensor: Trained) -> int:
    elements = prod(tensor.shape)
    match optimiser:
        case "adamw" | "adamw-foreach":
            size = 2 * elements * tensor.element_bytes + STEP_BYTES
        case "adamw-8bit" if elements >= SMALLEST_8BIT:
            size = 2 * (elements + ceil_div(elements, BLOCK_ELEMENTS) * 4)
        case "adamw-8bit":
            size = 2 * elements * 4
        case "adafactor" if len(tensor.shape) > 1:
            size = (elements // tensor.shape[-1] + elements // tensor.shape[-2]) * 4 + RMS_BYTES
        case "adafactor":
            size = elements * 4 + RMS_BYTES
        case "sgd-momentum":
            size = elements * tensor.element_bytes
        case _:
            size = 0
    return size


def step_bytes(optimiser: str, tensors: Sequence[Trained]) -> int:
    """Bytes made while the optimiser steps, beside weights, gradients and states.

    foreach AdamW holds the square roots of all second moments; Adafactor works on one tensor at a time, in float32.
    """
    if optimiser == "adamw-foreach":
        return sum(tensor.bytes for tensor in tensors)
    if optimiser == "adafactor":
        pairs = zip(tensors, (None, *tensors), strict=False)
        return max((_adafactor_step(tensor, before) for tensor, before in pairs), default=0)
    return 0


def _adafactor_step(tensor: Trained, before: Trained | None) -> int:
    """Float32 copies of one tensor: gradient and weight where they are 16-bit, two for the update; and the last update.

    The update of the tensor before is let go only when the next one is there.
    """
    copies = 4 if tensor.element_bytes < 4 else 2
    last = prod(before.shape) if before is not None else 0
    return (prod(tensor.shape) * copies + last) * 4
