"""Which tensor of a GGUF file gets which type: the mixes of llama.cpp's quantiser.

A file type such as Q4_K_M is not one type: the output matrix, some layers' value and down projections and others get
more bits, and rows that are no whole number of blocks another type. Source: llama.cpp src/llama-quant.cpp
(`llama_tensor_get_type_impl`, `tensor_allows_quantization`, read 2026-11); files quantised before the spring of 2026
give a fused attn_qkv one type of its own (Q4_K_M: Q5_K). "UD", "_L", "_XL" and other hand-made mixes follow no rule:
only the file itself says.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fmkit.errors import UsageError
from fmkit.model.ggml import TYPES, base_type, fitting_type
from fmkit.model.gguf_tensors import GGUF_PREFIX, GgufTensor, lineage_of, tensors_of
from fmkit.model.layers import FullAttention, LatentAttention, parts_of

if TYPE_CHECKING:
    from fmkit.model.ggml import GgmlType
    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import ModelSpec, TensorGroup

STORED = "stored"
"""The file type of a layout that takes every tensor as the file has it."""

UNMIXED = frozenset(("F32", "F16", "BF16"))
"""File types that quantise nothing."""

NEED_IMATRIX = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"))
"""File types that can't be made without an importance matrix."""

_TINY = frozenset(("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"))
_TINY_LARGER = frozenset(("IQ2_S", "IQ2_M"))
_EIGHT = 8
_FOUR = 4
_EXPERT_DIMS = 3


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules ask of a model: `queries_per_kv` is the number of query heads that share one KV head."""

    architecture: str
    layers: int
    value_tensors: int
    queries_per_kv: int
    experts: int
    is_70b: bool
    tied: bool
    imatrix: bool


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
        self._category = _category(tensor.name)
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
            wanted = _wanted(self._category, tensor.dims, file_type, found, facts)
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


def facts_of(spec: ModelSpec, inventory: tuple[GgufTensor, ...], *, imatrix: bool) -> Facts:
    """The facts that the rules of the mixes depend on."""
    stack = spec.cached_stack or spec.stacks[0]
    mixers = [part for block in stack.blocks for part in parts_of(block.mixer)]
    sharing = next((_queries_per_kv(mixer) for mixer in mixers if _queries_per_kv(mixer)), 1)
    experts = max((block.mlp.experts for block in stack.blocks if block.mlp is not None), default=0)
    architecture = lineage_of(spec).architecture
    eighty = stack.layers == 80  # what llama.cpp calls 70B: 80 layers, and in Llama's line shared KV heads
    return Facts(
        architecture=architecture,
        layers=stack.layers,
        value_tensors=sum(tensor.count for tensor in inventory if _category(tensor.name) == "value"),
        queries_per_kv=sharing,
        experts=experts,
        is_70b=eighty and (architecture == "qwen2" or (architecture == "llama" and sharing > 1)),
        tied=all(tensor.name != "output.weight" for tensor in inventory),
        imatrix=imatrix,
    )


def _queries_per_kv(mixer: SimpleMixer) -> int:
    """Query heads per KV head; latent attention counts as one KV head, a layer without heads as none."""
    if isinstance(mixer, LatentAttention):
        return mixer.query_heads
    return mixer.query_heads // mixer.kv_heads if isinstance(mixer, FullAttention) else 0


def gets_more_bits(layer: int, layers: int) -> bool:
    """Whether a layer is among those the M mixes give more bits: the first and last eighth, and every third between.

    >>> [layer for layer in range(16) if gets_more_bits(layer, 16)]
    [0, 1, 4, 7, 10, 13, 14, 15]
    """
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


class Position(NamedTuple):
    """What the rules ask of a layer, and of the place of its tensor among those of its name."""

    in_first_eighth: bool
    in_first_sixteenth: bool
    in_last_eighth: bool
    gets_more: bool
    place_gets_more: bool
    place: int
    """0 for the first two, 2 for the next two, 4 for all others: no rule asks for more."""


def position(layer: int, place: int, facts: Facts) -> Position:
    """Where that layer is."""
    return Position(
        in_first_eighth=layer < facts.layers // 8,
        in_first_sixteenth=layer < facts.layers // 16,
        in_last_eighth=layer >= 7 * facts.layers // 8,
        gets_more=gets_more_bits(layer, facts.layers),
        place_gets_more=gets_more_bits(place, facts.value_tensors),
        place=min(place // 2 * 2, _FOUR),
    )


def _category(name: str) -> str:
    """What the rules tell apart, by the name of the tensor."""
    if name == "output.weight":
        return "output"
    if name == "token_embd.weight":
        return "embedding"
    if any(f"attn_{word}.weight" in name for word in ("qkv", "kv_b", "v")):
        return "value"
    for word, category in (
        ("attn_k.weight", "key"),
        ("attn_q.weight", "query"),
        ("attn_output.weight", "attention output"),
        ("ffn_up", "up"),
        ("ffn_gate", "gate"),
        ("ffn_down", "down"),
    ):
        if word in name:
            return category
    return "other"


def _wanted(category: str, dims: tuple[int, ...], file_type: str, where: Position, facts: Facts) -> str:
    """The type before rows are looked at."""
    base = base_type(file_type)
    if category == "output" or (facts.tied and category == "embedding"):
        return _output_type(file_type, base, dims[0], facts)
    if file_type == "MXFP4_MOE":
        return "MXFP4" if len(dims) == _EXPERT_DIMS else "Q8_0"
    if category == "embedding":
        return _embedding_type(file_type, base.name)
    if file_type in _TINY:
        return _tiny_type(category, file_type, where, base.name, facts)
    return _block_type(category, file_type, where, base.name, facts)


def _block_type(category: str, file_type: str, where: Position, base: str, facts: Facts) -> str:
    """The type of a tensor of a block, in all but the smallest file types."""
    found = base
    match category:
        case "value":
            found = _value_type(file_type, where, base, facts)
        case "key" if facts.experts == _EIGHT:
            found = "Q8_0"
        case "key" | "query":
            found = {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(file_type, base)
        case "down":
            found = _down_type(file_type, where, base, facts)
        case "attention output":
            found = _attention_output_type(file_type, base, facts)
        case "gate" | "up" if file_type == "IQ3_XS" and not where.in_first_eighth and not where.in_last_eighth:
            found = "IQ3_XXS"
    return found


def _output_type(file_type: str, base: GgmlType, row_weights: int, facts: Facts) -> str:
    if file_type == "MXFP4_MOE" or facts.architecture == "falcon" or not base.holds(row_weights):
        return "Q8_0"
    if file_type in _TINY or file_type == "IQ3_XXS":
        return "Q5_K"
    return "Q8_0" if base.name == "Q8_0" else "Q6_K"


def _embedding_type(file_type: str, base: str) -> str:
    if file_type in {"IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"}:
        return "Q2_K"
    if file_type in {*_TINY_LARGER, "IQ3_XXS"}:
        return "IQ3_S"
    return "Q4_K" if file_type in {"TQ1_0", "TQ2_0"} else base


def _tiny_type(category: str, file_type: str, where: Position, base: str, facts: Facts) -> str:
    larger = "IQ3_S" if file_type in _TINY_LARGER else "Q2_K"
    if category == "value":
        return "Q4_K" if facts.queries_per_kv >= _FOUR or facts.experts >= _FOUR else larger
    if category == "key" and facts.experts == _EIGHT:
        return "Q4_K"
    if category == "down":
        return larger if where.in_first_eighth else base
    if category == "attention output":
        if facts.experts == _EIGHT:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(file_type, base)
    return base


def _value_type(file_type: str, where: Position, base: str, facts: Facts) -> str:
    if facts.experts == _EIGHT:
        return "Q8_0"
    kind = _value_type_by_file(file_type, where, base, facts)
    return "Q5_K" if facts.is_70b and kind in {"Q3_K", "Q4_K"} else kind


def _value_type_by_file(file_type: str, where: Position, base: str, facts: Facts) -> str:
    shared = facts.queries_per_kv >= _FOUR
    place, more = where.place, where.place_gets_more
    by_file = {
        "Q2_K": "Q4_K" if shared else "Q3_K",
        "Q2_K_S": "Q4_K" if shared else base,
        "IQ3_XXS": "Q4_K" if shared else "IQ3_XXS" if facts.imatrix else "IQ3_S",
        "IQ3_XS": "Q4_K" if shared else base,
        "IQ3_S": "Q4_K" if shared else base,
        "IQ3_M": "Q4_K",
        "Q3_K_M": "Q5_K" if place < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ4_NL": "Q5_K" if shared else base,
        "IQ4_XS": "Q5_K" if shared else base,
        "Q4_K_M": "Q6_K" if more else base,
        "Q5_K_M": "Q6_K" if more else base,
        "Q4_K_S": "Q5_K" if place < _FOUR else base,
    }
    return by_file.get(file_type, base)


def _down_type(file_type: str, where: Position, base: str, facts: Facts) -> str:
    falcon = facts.architecture == "falcon"
    early, earliest, more = where.in_first_eighth, where.in_first_sixteenth, where.gets_more
    by_file = {
        "Q2_K": "Q3_K",
        "Q2_K_S": "Q4_K" if early else base,
        "IQ3_XXS": base if facts.imatrix else "Q4_K" if early else "Q3_K",
        "Q3_K_M": "Q5_K" if earliest else "Q4_K" if not falcon or more else "Q3_K",
        "IQ3_M": "Q4_K" if early or (facts.experts == _EIGHT and more) else base,
        "Q3_K_L": "Q4_K" if falcon else "Q5_K",
        "Q4_K_M": "Q6_K" if (earliest if falcon else more) else "Q5_K" if falcon and more else base,
        "IQ4_NL": "Q5_K" if early and not facts.imatrix else base,
        "IQ4_XS": "Q5_K" if early and not facts.imatrix else base,
        "Q5_K_M": "Q6_K" if more else base,
        "Q4_K_S": "Q5_K" if early and not falcon else base,
        "Q4_0": "Q4_1" if early and facts.imatrix else base,
        "Q5_0": "Q5_1" if early and facts.imatrix else base,
    }
    return by_file.get(file_type, base)


_FIVE_WITH_EIGHT_EXPERTS = frozenset(
    ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS")
)


def _attention_output_type(file_type: str, base: str, facts: Facts) -> str:
    if facts.architecture == "falcon":
        return "Q4_K" if file_type == "Q3_K_L" else base
    if facts.experts == _EIGHT:
        return "Q5_K" if file_type in _FIVE_WITH_EIGHT_EXPERTS else base
    by_file = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
    return by_file.get(file_type, base)
