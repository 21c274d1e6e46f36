"""The rules of llama.cpp's quantiser: which type a tensor gets in a file of a mixed type such as Q4_K_M.

Source: llama.cpp src/llama-quant.cpp (`llama_tensor_get_type_impl`, read 2026-11). Files quantised before the spring of
2026 give a fused attn_qkv one type of its own (Q4_K_M: Q5_K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from fmkit.model.attention import FullAttention, LatentAttention
from fmkit.model.ggml import base_type
from fmkit.model.gguf_lineages import lineage_of
from fmkit.model.layers import parts_of

if TYPE_CHECKING:
    from fmkit.model.ggml import GgmlType
    from fmkit.model.gguf_tensors import GgufTensor
    from fmkit.model.layers import SimpleMixer
    from fmkit.model.spec import ModelSpec

Category = Literal["output", "embedding", "value", "key", "query", "attention output", "up", "gate", "down", "other"]
"""What the rules tell apart."""

_TINY = frozenset(("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"))
_TINY_LARGER = frozenset(("IQ2_S", "IQ2_M"))
_EXPERT_DIMS = 3


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules ask of a model.

    `queries_per_kv` is the number of query heads that share one KV head: from four on the rules spend more on the values.
    `experts` is looked at for Mixtral's number, eight.
    """

    architecture: str
    layers: int
    value_tensors: int
    queries_per_kv: int
    experts: int
    is_70b: bool
    tied: bool
    imatrix: bool

    @property
    def shares_values(self) -> bool:
        """Whether value projections are small enough to be given more bits."""
        return self.queries_per_kv >= 4

    @property
    def has_eight_experts(self) -> bool:
        """Whether the rules made for Mixtral hold."""
        return self.experts == 8


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
        place=min(place // 2 * 2, 4),
    )


_CATEGORIES: dict[str, Category] = {
    "attn_k.weight": "key",
    "attn_q.weight": "query",
    "attn_output.weight": "attention output",
    "ffn_up": "up",
    "ffn_gate": "gate",
    "ffn_down": "down",
}
"""By a part of the tensor's name; those of values have several."""


def category_of(name: str) -> Category:
    """What the rules tell apart, by the name of the tensor."""
    if name == "output.weight":
        return "output"
    if name == "token_embd.weight":
        return "embedding"
    if any(f"attn_{word}.weight" in name for word in ("qkv", "kv_b", "v")):
        return "value"
    return next((category for word, category in _CATEGORIES.items() if word in name), "other")


def wanted_type(category: Category, dims: tuple[int, ...], file_type: str, where: Position, facts: Facts) -> str:
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


def _block_type(category: Category, file_type: str, where: Position, base: str, facts: Facts) -> str:
    """The type of a tensor of a block, in all but the smallest file types."""
    found = base
    match category:
        case "value":
            found = _value_type(file_type, where, base, facts)
        case "key" if facts.has_eight_experts:
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


def _tiny_type(category: Category, file_type: str, where: Position, base: str, facts: Facts) -> str:
    larger = "IQ3_S" if file_type in _TINY_LARGER else "Q2_K"
    if category == "value":
        return "Q4_K" if facts.shares_values or facts.experts >= 4 else larger
    if category == "key" and facts.has_eight_experts:
        return "Q4_K"
    if category == "down":
        return larger if where.in_first_eighth else base
    if category == "attention output":
        if facts.has_eight_experts:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(file_type, base)
    return base


def _value_type(file_type: str, where: Position, base: str, facts: Facts) -> str:
    if facts.has_eight_experts:
        return "Q8_0"
    kind = _value_type_by_file(file_type, where, base, facts)
    return "Q5_K" if facts.is_70b and kind in {"Q3_K", "Q4_K"} else kind


def _value_type_by_file(file_type: str, where: Position, base: str, facts: Facts) -> str:
    shared = facts.shares_values
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
        "Q4_K_S": "Q5_K" if place < 4 else base,
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
        "IQ3_M": "Q4_K" if early or (facts.has_eight_experts and more) else base,
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
    if facts.has_eight_experts:
        return "Q5_K" if file_type in _FIVE_WITH_EIGHT_EXPERTS else base
    by_file = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
    return by_file.get(file_type, base)


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
        value_tensors=sum(tensor.count for tensor in inventory if category_of(tensor.name) == "value"),
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
