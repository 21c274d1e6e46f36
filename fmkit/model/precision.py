"""Precisions: how an engine lays out the weights, to the byte.

A precision (`fp16`, `int8`, `int4`) is what the user asks for; a layout is what an engine makes of it
(`bnb-llm-int8`, `bnb-nf4-dq`). Layouts are catalog data (catalog/precisions.yaml).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.ggml import TYPES
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from fmkit.model.spec import TensorGroup

DTYPE_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "complex64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Bytes of one element by PyTorch type name."""


class ScaleLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One level of scales: `bytes` for each started run of `params` weights of one tensor."""

    params: int
    bytes: int


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A precision that people ask for, with the quality it was measured to cost ("unknown" where nobody published it)."""

    id: str = ""
    name: str
    bits: int
    quality_loss: str
    aliases: tuple[str, ...] = ()
    quality_source: str | None = None


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one engine stores the weights of one precision.

    `weight_bits` is the width of a quantised weight, None for a layout that quantises nothing; `modules` are the classes
    it touches; `keeps_head` leaves the output head alone; `row_bytes` are per output row, `scales` per block of weights,
    `tensor_bytes` per quantised tensor. `parts` are the parts of the model it touches, where not all; of bare `parameter`s
    only fused experts can be. Everything else stays in `rest_dtype` ("auto": bfloat16 where the config says so, else float16).
    `file_type` is the GGUF file type of a layout that llama.cpp mixes tensor by tensor: then `fmkit.model.gguf_mix` knows the
    bytes, and the width given here is the average.
    """

    id: str = ""
    name: str
    weight_bits: int | None
    rest_dtype: str
    source: str
    modules: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    keeps_head: bool = True
    row_bytes: int = 0
    scales: tuple[ScaleLevel, ...] = ()
    tensor_bytes: int = 0
    compute_dtype: str = "auto"
    file_type: str | None = None

    def rest_dtype_for(self, config_dtype: str) -> str:
        """The type of what is not quantised, for a model whose config names `config_dtype`."""
        if self.rest_dtype != "auto":
            return self.rest_dtype
        return "bfloat16" if config_dtype == "bfloat16" else "float16"

    def touches(self, group: TensorGroup) -> bool:
        """Whether the layout quantises the tensors of this group."""
        if self.weight_bits is None or not group.quantisable or group.module not in self.modules:
            return False
        if self.parts and group.part not in self.parts:
            return False
        if group.module == "parameter":
            return group.part == "experts" and len(group.shape) > 2
        return len(group.shape) > 1 and not (group.part == "head" and self.keeps_head)

    def tensor_group_bytes(self, group: TensorGroup, config_dtype: str) -> int:
        """Bytes of a group of tensors as the engine holds them, scales included.

        Bytes of one quantised tensor = n * weight_bits / 8 + rows * row_bytes + sum over levels of
        ceil(n / params) * bytes + tensor_bytes, with n its elements. A tensor of a GGUF file has a type of ggml's.
        """
        if group.dtype in TYPES:
            return TYPES[group.dtype].tensor_bytes(group.shape[::-1]) * group.count
        if not self.touches(group):
            dtype = group.dtype or self.rest_dtype_for(config_dtype)
            return group.elements * DTYPE_BYTES[dtype]
        weight_bits = self.weight_bits or 0
        elements = prod(group.shape)
        one = ceil_div(elements * weight_bits, 8) + group.output_rows * self.row_bytes + self.tensor_bytes
        one += sum(ceil_div(elements, level.params) * level.bytes for level in self.scales)
        return one * group.count
