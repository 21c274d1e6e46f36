"""LoRA as peft 0.21 adds it: which linear layers get an adapter, and what the adapters weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import UsageError
from fmkit.sizing.training.optimisers import Trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.spec import ModelSpec, TensorGroup

ALL_LINEAR = "all-linear"

_ATTENTION_ROLES = {
    "q": ("q_proj", "query", "q", "q_lin", "query_proj", "Wq"),
    "k": ("k_proj", "key", "k", "k_lin", "key_proj", "Wk"),
    "v": ("v_proj", "value", "v", "v_lin", "value_proj", "Wv"),
    "qkv": ("qkv_proj", "c_attn", "query_key_value", "Wqkv", "qkv", "W_pack"),
    "o": ("o_proj", "out_proj", "o", "out_lin", "dense", "c_proj", "Wo"),
}
_MLP_ROLES = {
    "gate": ("gate_proj", "wi_0"),
    "up": ("up_proj", "wi_1", "wi", "fc1", "c_fc", "lin1", "dense_h_to_4h"),
    "down": ("down_proj", "wo", "fc2", "c_proj", "lin2", "dense_4h_to_h"),
    "gate_up": ("gate_up_proj",),
}


def adapted_groups(spec: ModelSpec, targets: Sequence[str]) -> list[TensorGroup]:
    """The weights of the linear layers that get an adapter; UsageError for a name that no layer has.

    `all-linear` is every Linear and Conv1D but the output head. Fused experts are bare parameters, which peft leaves
    alone unless `target_parameters` names them.
    """
    linear = [group for group in spec.tensors if group.module in ("linear", "conv1d") and len(group.shape) == 2]
    if tuple(targets) == (ALL_LINEAR,):
        return [group for group in linear if group.part != "head" and group.name.rpartition(".")[2] == "weight"]
    names = {layer_name(group) for group in linear}
    for target in targets:
        if target not in names:
            raise UsageError.unknown("linear layer", target, sorted({*names, ALL_LINEAR}), where="--lora-targets")
    return [group for group in linear if layer_name(group) in targets]


def layer_name(group: TensorGroup) -> str:
    """The last name of the module that holds a weight.

    >>> from fmkit.model.spec import TensorGroup
    >>> layer_name(TensorGroup(name="model.layers.*.self_attn.q_proj.weight", part="attention", module="linear", shape=(8, 8)))
    'q_proj'
    """
    return group.name.removesuffix(".weight").rpartition(".")[2]


def adapter_tensors(groups: Sequence[TensorGroup], rank: int, element_bytes: int) -> list[Trained]:
    """The two matrices of each adapter: rank x inputs and outputs x rank.

    >>> from fmkit.model.spec import TensorGroup
    >>> query = TensorGroup(name="q_proj.weight", part="attention", module="linear", shape=(4096, 4096), count=32)
    >>> sum(tensor.bytes for tensor in adapter_tensors([query], 16, 4))
    16777216
    """
    tensors = []
    for group in groups:
        outputs, inputs = group.shape if group.module == "linear" else group.shape[::-1]
        tensors += [
            Trained((rank, inputs), group.count, element_bytes),
            Trained((outputs, rank), group.count, element_bytes),
        ]
    return tensors


def adapted_roles(groups: Sequence[TensorGroup]) -> frozenset[str]:
    """The roles in a block's program of the projections that have an adapter."""
    roles = set()
    for group in groups:
        name = layer_name(group)
        if group.part == "attention":
            roles |= {role for role, names in _ATTENTION_ROLES.items() if name in names}
        elif group.part == "mlp":
            is_bert = name == "dense"
            inner = group.name.removesuffix(".dense.weight").endswith("intermediate")
            roles |= {"up" if inner else "down"} if is_bert else set()
            roles |= {role for role, names in _MLP_ROLES.items() if name in names}
    return frozenset(roles)
