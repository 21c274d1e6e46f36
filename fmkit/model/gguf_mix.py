"""The tensors of a GGUF file, each with its type: the mixes of llama.cpp's quantiser, or what a file that was read has.

A file type such as Q4_K_M is not one type (the rules are in `fmkit.model.gguf_type_rules`), and rows that are no whole
number of blocks get another. Source: llama.cpp src/llama-quant.cpp (`tensor_allows_quantization`, read 2026-11). "UD",
"_L", "_XL" and other hand-made mixes follow no rule: only the file itself says.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.ggml import TYPES, fitting_type
from fmkit.model.gguf_lineages import GGUF_PREFIX
from fmkit.model.gguf_tensors import GgufTensor, tensors_of
from fmkit.model.gguf_type_rules import Facts, Position, category_of, facts_of, position, wanted_type

if TYPE_CHECKING:
    from fmkit.model.ggml import GgmlType
    from fmkit.model.spec import ModelSpec, TensorGroup

STORED = "stored"
"""The file type of a layout that takes every tensor as the file has it."""

UNMIXED = frozenset(("F32", "F16", "BF16"))
"""File types that quantise nothing."""

NEED_IMATRIX = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"))
"""File types that can't be made without an importance matrix."""


class MixedTensor(msgspec.Struct, frozen=True):
    """Tensors of one name and one type; `layers` as in GgufTensor."""

    tensor: GgufTensor
    kind: GgmlType

    @property
    def bytes(self) -> int:
        """Bytes of all of them."""
        return self.kind.tensor_bytes(self.tensor.dims) * self.tensor.count


class GgufMix:
    """The tensors of one model's GGUF files: listed once, given their types by the file type."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._from_file = spec.model_type.startswith(GGUF_PREFIX)

    def of(self, file_type: str, *, imatrix: bool = False) -> tuple[MixedTensor, ...]:
        """The tensors of a file of that type, one entry for each name and type."""
        if self._from_file != (file_type == STORED):
            raise UsageError(
                "a GGUF file has the types it was stored with: leave out --precision"
                if self._from_file
                else "only a GGUF file has types of its own",
                where="--precision",
            )
        if self._from_file:
            return tuple(_stored(group) for group in self._spec.tensors)
        facts = self._facts
        if imatrix or file_type in NEED_IMATRIX:
            facts = msgspec.structs.replace(facts, imatrix=True)
        return tuple([entry for each in self._tensors for entry in each.typed(file_type, facts)])

    @cached_property
    def _inventory(self) -> tuple[GgufTensor, ...]:
        return tensors_of(self._spec)

    @cached_property
    def _facts(self) -> Facts:
        return facts_of(self._spec, self._inventory, imatrix=False)

    @cached_property
    def _tensors(self) -> list[_Tensors]:
        return [_Tensors(tensor, self._facts) for tensor in self._inventory]


def mixed(spec: ModelSpec, file_type: str, *, imatrix: bool = False) -> tuple[MixedTensor, ...]:
    """The tensors of the model's GGUF file of that type, one entry for each name and type."""
    return GgufMix(spec).of(file_type, imatrix=imatrix)


class _Tensors:
    """Tensors of one name, by all that the rules ask of a layer, so that each rule is asked once for many layers."""

    def __init__(self, tensor: GgufTensor, facts: Facts) -> None:
        self._tensor = tensor
        self._quantisable = tensor.quantisable
        self._category = category_of(tensor.name)
        self._whole: dict[str, MixedTensor] = {}
        self._by_position: dict[Position, list[int]] = {}
        for place, layer in enumerate(tensor.layers or (0,)):
            self._by_position.setdefault(position(layer, place, facts), []).append(layer)

    def typed(self, file_type: str, facts: Facts) -> list[MixedTensor]:
        """An entry for each type that some of the tensors get."""
        tensor = self._tensor
        if not self._quantisable or file_type == "F32":
            return [self._all_as("F32")]  # the converter keeps these in float32 in every file type
        if file_type in UNMIXED:
            return [self._all_as(file_type)]
        by_type: dict[str, list[int]] = {}
        for found, layers in self._by_position.items():
            wanted = wanted_type(self._category, tensor.dims, file_type, found, facts)
            kind = fitting_type(TYPES[wanted], tensor.dims[0])
            by_type.setdefault(kind.name, []).extend(layers)
        if len(by_type) == 1:
            return [self._all_as(name) for name in by_type]
        return [
            MixedTensor(msgspec.structs.replace(tensor, layers=tuple(sorted(layers))), TYPES[name])
            for name, layers in by_type.items()
        ]

    def _all_as(self, name: str) -> MixedTensor:
        found = self._whole.get(name)
        if found is None:
            found = self._whole[name] = MixedTensor(self._tensor, TYPES[name])
        return found


def _stored(group: TensorGroup) -> MixedTensor:
    """A tensor of a file that was read, with the type it has there."""
    layer = group.name.split(".")[1] if group.name.startswith("blk.") else ""
    tensor = GgufTensor(
        name=group.name.replace(f"blk.{layer}.", "blk.*.", 1) if layer.isdigit() else group.name,
        part=group.part,
        dims=group.shape[::-1],
        layers=(int(layer),) if layer.isdigit() else (),
    )
    return MixedTensor(tensor, TYPES[group.dtype or "F32"])
