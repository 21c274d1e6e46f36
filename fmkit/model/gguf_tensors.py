"""The tensors of the GGUF file that llama.cpp's converter makes of a model: names, dimensions, layers.

Names are llama.cpp's (`blk.*.attn_v.weight`, the layer number as `*`), dimensions ggml's: the fastest first, the
reverse of PyTorch's. What belongs to another modality goes to a file of its own (mmproj) and is not listed. Rotary
factors (a few hundred bytes where RoPE is scaled) are left out: a ModelSpec does not say whether there are any. Source:
the converter and model loaders of llama.cpp; the inventories were loaded by it (tests/sizing/test_llama_cpp.py).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import ArchitectureUnknownError
from fmkit.model.attention import LatentAttention
from fmkit.model.gguf_lineages import BLOCK_NAMES, Lineage, lineage_of
from fmkit.model.layers import parts_of
from fmkit.model.recurrent import Mamba2
from fmkit.model.spec import TOWER_PARTS
from fmkit.model.tensor_layers import layers_with

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec, Part, TensorGroup

_LEAST_DIMS = 2
_INPUTS = frozenset(
    (
        "token_embd.weight",
        "position_embd.weight",
        "token_types.weight",
        "token_embd_norm.weight",
        "token_embd_norm.bias",
    )
)
_UNQUANTISED_TABLES = frozenset(("position_embd.weight", "token_types.weight"))


class GgufTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of each of `layers` (one alone, outside of the blocks, where that is empty), all of the same dimensions."""

    name: str
    part: Part
    dims: tuple[int, ...]
    layers: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return max(1, len(self.layers))

    @property
    def elements(self) -> int:
        """Elements of one."""
        return prod(self.dims)

    @property
    def is_input(self) -> bool:
        """Whether llama.cpp reads it before the first block, and so leaves it in the host's memory."""
        return self.name in _INPUTS

    @property
    def quantisable(self) -> bool:
        """Whether llama.cpp's quantiser may touch it: a weight of two dimensions or more, no norm, no router, no position.

        Source: llama-quant.cpp, `tensor_allows_quantization`.
        """
        kept = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "shortconv.conv")
        return (
            len(self.dims) >= _LEAST_DIMS
            and self.name.endswith("weight")
            and self.name not in _UNQUANTISED_TABLES
            and not any(word in self.name for word in kept)
        )


def tensors_of(spec: ModelSpec) -> tuple[GgufTensor, ...]:
    """The inventory of the model's GGUF file."""
    lineage = lineage_of(spec)
    found: list[GgufTensor] = []
    for group in spec.tensors:
        routing_bias = group.part == "buffer" and group.name.endswith("e_score_correction_bias")
        is_head = group.part == "head" and not lineage.causal
        if group.part not in TOWER_PARTS and not is_head and (group.part != "buffer" or routing_bias):
            found.extend(_converted(group, spec, lineage))
    return tuple(found)


def _converted(group: TensorGroup, spec: ModelSpec, lineage: Lineage) -> list[GgufTensor]:
    if "*" not in group.name:
        name, dims = _outer_name(group, lineage), _dims(group)
        if name == "position_embd.weight":
            dims = (dims[0], dims[1] - lineage.position_offset)
        return [GgufTensor(name=name, part=group.part, dims=dims)]
    inner = group.name.partition("*.")[2]
    layers = layers_with(group, spec.cached_stack or spec.stacks[0])
    if inner.startswith(("mlp.experts.", "feed_forward.experts.")):
        return _experts(group, inner, layers, lineage)
    if inner == "self_attn.kv_b_proj.weight":
        return _latent_projections(group, spec, layers)
    stem, kind = _split(inner)
    found = lineage.renames.get(stem) or BLOCK_NAMES.get(stem)
    if stem == "post_attention_layernorm":
        found = lineage.after_attention
    if found is None:
        raise _unknown(group, lineage)
    bare = {"ssm_a", "ssm_d", "ffn_norm"} if lineage.state_groups else {"ssm_a", "ssm_d"}  # as Falcon-H1 is converted
    ending = "" if found in bare else f".{kind}"
    return [
        GgufTensor(
            name=f"blk.*.{found.removesuffix('.')}{ending}",
            part="router" if found == "exp_probs_b" else group.part,
            dims=_state_dims(found, group, spec) if lineage.state_groups else _dims(group),
            layers=layers,
        )
    ]


def _outer_name(group: TensorGroup, lineage: Lineage) -> str:
    stem, kind = _split(group.name)
    renamed = next((new for old, new in lineage.outer_renames.items() if stem.endswith(old)), None)
    if renamed is not None:
        return f"{renamed}.{kind}"
    if group.part == "head":
        return f"output.{kind}"
    if group.part == "norm":
        return f"output_norm.{kind}"
    if group.part == "embedding":
        return "position_embd.weight" if stem.endswith("wpe") else "token_embd.weight"
    raise _unknown(group, lineage)


def _split(name: str) -> tuple[str, str]:
    """A parameter's name without its last word, and the last word as llama.cpp writes it.

    >>> _split("self_attn.q_proj.bias"), _split("self_attn.sinks"), _split("mlp.gate.e_score_correction_bias")
    (('self_attn.q_proj', 'bias'), ('self_attn.sinks', 'weight'), ('mlp.gate.e_score_correction_bias', 'bias'))
    """
    stem, _, last = name.rpartition(".")
    if last in {"weight", "bias"}:
        return stem, last
    return name, "bias" if name.endswith("_bias") else "weight"


def _state_dims(name: str, group: TensorGroup, spec: ModelSpec) -> tuple[int, ...]:
    """Dimensions of a Mamba 2 layer's tensors."""
    dims = _dims(group)
    if name in {"ssm_a", "ssm_d"}:
        return (1, *dims)
    if name == "ssm_norm":
        stack = spec.cached_stack or spec.stacks[0]
        mixers = (part for block in stack.blocks for part in parts_of(block.mixer))
        groups = next(mixer.groups for mixer in mixers if isinstance(mixer, Mamba2))
        return (dims[0] // groups, groups)
    return dims


def _dims(group: TensorGroup) -> tuple[int, ...]:
    """Ggml's dimensions: PyTorch's reversed, without ones inside; GPT-2's Conv1D is stored transposed and so turned around."""
    shape = tuple(size for size in group.shape if size != 1) or (1,)
    return shape if group.module == "conv1d" and len(shape) == _LEAST_DIMS else shape[::-1]


def _experts(group: TensorGroup, inner: str, layers: tuple[int, ...], lineage: Lineage) -> list[GgufTensor]:
    """Fused experts: gate and up are stored apart; all experts of a layer are one tensor of three dimensions."""
    names = ("ffn_gate_exps", "ffn_up_exps") if "gate_up_proj" in inner else ("ffn_down_exps",)
    experts, *sizes = group.shape
    dims: tuple[int, ...]
    if len(sizes) == 1:
        kind, dims = "bias", (sizes[0] // len(names), experts)
    else:
        inputs, outputs = sizes if lineage.experts_transposed else reversed(sizes)
        kind, dims = "weight", (inputs, outputs // len(names), experts)
    return [GgufTensor(name=f"blk.*.{name}.{kind}", part="experts", dims=dims, layers=layers) for name in names]


def _latent_projections(group: TensorGroup, spec: ModelSpec, layers: tuple[int, ...]) -> list[GgufTensor]:
    """Latent attention's kv_b is split into keys (transposed) and values, with the head as third dimension."""
    stack = spec.cached_stack or spec.stacks[0]
    mixers = (part for block in stack.blocks for part in parts_of(block.mixer))
    latent = next(mixer for mixer in mixers if isinstance(mixer, LatentAttention))
    heads, width = latent.query_heads, latent.latent_dim
    return [
        GgufTensor(name="blk.*.attn_k_b.weight", part=group.part, dims=(latent.nope_dim, width, heads), layers=layers),
        GgufTensor(name="blk.*.attn_v_b.weight", part=group.part, dims=(width, latent.value_dim, heads), layers=layers),
    ]


def _unknown(group: TensorGroup, lineage: Lineage) -> ArchitectureUnknownError:
    return ArchitectureUnknownError(
        f"what llama.cpp ({lineage.architecture}) makes of {group.name} is not known to this version",
        where="--engine llama.cpp",
        next_command="fmkit vram MODEL --engine transformers",
    )
