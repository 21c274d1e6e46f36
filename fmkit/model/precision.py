"""Precisions: how an engine lays out the weights, to the byte.

A precision (`fp16`, `int8`, `int4`) is what the user asks for; a layout is what an engine makes of it
(`bnb-llm-int8`, `bnb-nf4-dq`). Layouts are catalog data (catalog/precisions.yaml).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.ggml import TYPES
from fmkit.model.matrices import ScaleLevel, matrices
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from fmkit.model.spec import TensorGroup

DTYPE_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "complex64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Bytes of one element by PyTorch type name."""


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A precision that people ask for; what becomes of it is each engine's own (Layout)."""

    id: str = ""
    name: str
    bits: int
    aliases: tuple[str, ...] = ()


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one engine stores the weights of one precision, or a repository its own.

    `weight_bits` is the width of a quantised weight, None for a layout that quantises nothing; `modules` are the
    classes it touches; `keeps_head` leaves the output head alone, `keeps_float32` what `TensorGroup.keeps_float32`
    says; `joins_gate_and_up` takes those of an expert for one matrix. Rows of weights fill whole words of `word_bytes`,
    where that is not 0; `scales` are kept per block of a matrix, `matrix_bytes` per matrix. `parts` are the parts of
    the model it touches, where not all; of bare `parameter`s only fused experts can be. A matrix whose inputs are no
    multiple of `inputs_multiple` is left alone. Everything else stays in `rest_dtype` ("auto": bfloat16 where the
    config says so, else float16).

    `kept` and `chosen` name groups of tensors with the number of layers that are left alone, and that are quantised at
    all; both come from a repository's quantization_config, whose method is `method`. `others` are its further schemes,
    for what this one leaves.

    `file_type` is the GGUF file type of a layout that llama.cpp mixes tensor by tensor: then `fmkit.model.gguf_mix`
    knows the bytes, and the width given here is the average. `loading` says what must be known about who loads it,
    `plain_on_cpu` that on a CPU its weights are 16 bit wide.
    """

    id: str = ""
    name: str
    weight_bits: int | None
    rest_dtype: str
    source: str
    modules: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    keeps_head: bool = True
    keeps_float32: bool = True
    joins_gate_and_up: bool = False
    word_bytes: int = 0
    scales: tuple[ScaleLevel, ...] = ()
    matrix_bytes: int = 0
    inputs_multiple: int = 1
    compute_dtype: str = "auto"
    file_type: str | None = None
    loading: str | None = None
    plain_on_cpu: bool = False
    method: str | None = None
    kept: dict[str, int] = {}
    chosen: dict[str, int] | None = None
    others: tuple[Layout, ...] = ()

    def rest_dtype_for(self, config_dtype: str) -> str:
        """The type of what is not quantised, for a model whose config names `config_dtype`."""
        if self.rest_dtype != "auto":
            return self.rest_dtype
        return "bfloat16" if config_dtype == "bfloat16" else "float16"

    def touches(self, group: TensorGroup) -> bool:
        """Whether the layout quantises tensors of this group, be it in some layers only."""
        return any(layout is not None for layout, _ in self.portions(group))

    def touched_elements(self, group: TensorGroup) -> int:
        """Elements of the group that are quantised."""
        return sum(prod(group.shape) * count for layout, count in self.portions(group) if layout is not None)

    def portions(self, group: TensorGroup) -> Portions:
        """How many of the group's tensors each scheme quantises, and with None how many stay as they are."""
        if group.count and not self.others and not self.kept and self.chosen is None:
            return ((self if self.quantises(group) else None, group.count),)
        left, found = group.count, []
        kept = min(left, self.kept.get(group.name, 0))
        for layout in (self, *self.others):
            if not layout.quantises(group):
                continue
            most = left - kept if layout.chosen is None else min(left - kept, layout.chosen.get(group.name, 0))
            if most > 0:
                found.append((layout, most))
                left -= most
        return (*found, (None, left)) if left else tuple(found)

    def tensor_group_bytes(self, group: TensorGroup, config_dtype: str) -> int:
        """Bytes of a group of tensors as the engine holds them, scales included. A tensor of a GGUF file has a type of ggml's."""
        return self.portion_bytes(group, self.portions(group), config_dtype)

    def portion_bytes(self, group: TensorGroup, portions: Portions, config_dtype: str) -> int:
        """`tensor_group_bytes`, where the group's `portions` are at hand."""
        if group.dtype in TYPES:
            return TYPES[group.dtype].tensor_bytes(group.shape[::-1]) * group.count
        total = 0
        for layout, count in portions:
            if layout is None:
                total += prod(group.shape) * count * DTYPE_BYTES[group.dtype or self.rest_dtype_for(config_dtype)]
            else:
                total += layout.quantised_bytes(group) * count
        return total

    def quantises(self, group: TensorGroup) -> bool:
        """Whether this scheme, of all a repository has, is for the tensors of the group."""
        if self.weight_bits is None or group.module not in self.modules:
            return False
        if not group.quantisable and (self.keeps_float32 or not group.keeps_float32):
            return False
        if self.parts and group.part not in self.parts:
            return False
        if group.module == "parameter" and not (group.part == "experts" and len(group.shape) > 2):
            return False
        if len(group.shape) < 2 or (group.part == "head" and self.keeps_head):
            return False
        return self.inputs_multiple == 1 or not matrices(group).inputs % self.inputs_multiple

    def quantised_bytes(self, group: TensorGroup) -> int:
        """Bytes of one quantised tensor: per matrix the packed weights, the scales of each level, and `matrix_bytes`."""
        count, outputs, inputs = matrices(group, joined=self.joins_gate_and_up)
        bits = self.weight_bits or 0
        if self.word_bytes:
            weights = outputs * ceil_div(inputs * bits, 8 * self.word_bytes) * self.word_bytes
        else:
            weights = ceil_div(outputs * inputs * bits, 8)
        scales = sum(level.matrix_bytes(outputs, inputs) for level in self.scales)
        return count * (weights + scales + self.matrix_bytes)


Portions = tuple[tuple[Layout | None, int], ...]
"""How many of a group's tensors each scheme quantises, and with None how many stay as they are."""
