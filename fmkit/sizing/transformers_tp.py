"""Tensor parallel in transformers 5.23 (`tp_plan="auto"`): which modules are cut, which every device holds in full.

The plan is the config's own (`base_model_tp_plan`), listed here by model type: modules inside a layer, and the axis
that is divided. Embedding and output matrix are divided by the vocabulary. What a plan does not name is on every
device: norms, routers, towers. Rows need not divide (the first devices hold one more), but heads must: unlike vLLM,
transformers does not repeat KV heads. Where the outputs of the projections are gathered, every device keeps the whole
cache. Held against the plans applied on the meta device (tests/sizing/test_transformers_tp.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.attention import FullAttention, LatentAttention
from fmkit.sizing.parallel import Degree
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import Block, ModelSpec, TensorGroup

ROWS, COLUMNS = -2, -1
"""The axis of a weight that is divided: its outputs, or its inputs (and then a bias is whole)."""


class TensorPlan(msgspec.Struct, frozen=True):
    """What a model's plan divides: modules by their name inside a layer, with the axis.

    `gathers` says that queries, keys and values are put together again after their projections, so that all of
    attention is done on every device.
    """

    modules: dict[str, int]
    gathers: bool = False

    @property
    def cuts_heads(self) -> bool:
        """Whether each device computes its own heads, and keeps their cache."""
        return not self.gathers and any(name.rpartition(".")[2] in _HEADS for name in self.modules)


_HEADS = frozenset(("q_proj", "q_b_proj", "qkv_proj", "query_key_value"))


def _pair(first: str, *more: str, second: str) -> dict[str, int]:
    return {**dict.fromkeys((first, *more), ROWS), second: COLUMNS}


_ATTENTION = _pair("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", second="self_attn.o_proj")
_MLP = _pair("mlp.gate_proj", "mlp.up_proj", second="mlp.down_proj")
_EXPERTS = _pair("mlp.experts.gate_up_proj", second="mlp.experts.down_proj")
_SHARED = _pair("mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj", second="mlp.shared_experts.down_proj")
_SHARED_EXPERT = {name.replace("experts.", "expert."): axis for name, axis in _SHARED.items()}
_LATENT = _pair("self_attn.q_proj", "self_attn.q_b_proj", "self_attn.kv_b_proj", second="self_attn.o_proj")
_LINEAR = dict.fromkeys(("linear_attn.in_proj_qkvz", "linear_attn.in_proj_ba", "linear_attn.out_proj"), ROWS)

_DENSE = TensorPlan({**_ATTENTION, **_MLP})
_GATHERED = TensorPlan({**_ATTENTION, **_MLP}, gathers=True)
_MIXTURE = TensorPlan({**_ATTENTION, **_EXPERTS})
_ONLY_EXPERTS = TensorPlan(_EXPERTS)

PLANS: dict[str, TensorPlan] = {
    **dict.fromkeys(
        (
            "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3", "gemma3_text", "granite", "llama", "ministral3", "mistral", "olmo",
            "qwen2", "qwen3", "seed_oss", "smollm3", "qwen2_vl", "qwen2_5_vl",
        ),
        _DENSE,
    ),
    **dict.fromkeys(("olmo2", "olmo3"), _GATHERED),
    **dict.fromkeys(("mixtral", "minimax"), _MIXTURE),
    **dict.fromkeys(("olmoe", "minimax_m2"), TensorPlan({**_ATTENTION, **_EXPERTS}, gathers=True)),
    **dict.fromkeys(("phimoe", "hunyuan_v1_moe", "deepseek_v4"), _ONLY_EXPERTS),
    **dict.fromkeys(("ernie4_5_moe", "glm4_moe"), TensorPlan({**_ATTENTION, **_MLP, **_EXPERTS, **_SHARED})),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), TensorPlan({**_ATTENTION, **_MLP, **_EXPERTS})),
    "qwen3_next": TensorPlan({**_ATTENTION, **_MLP, **_EXPERTS, **_SHARED_EXPERT, **_LINEAR}),
    "deepseek_v2": TensorPlan({**_LATENT, **_MLP, **_EXPERTS, **_SHARED}),
    "deepseek_v32": TensorPlan({**_LATENT, **_MLP, **_EXPERTS, **_SHARED}),
    "deepseek_v3": TensorPlan({**_MLP, **_EXPERTS, **_SHARED}),
    "minicpm3": TensorPlan({**_LATENT, **_MLP}),
    **dict.fromkeys(("glm", "glm4"), TensorPlan({**_ATTENTION, **_pair("mlp.gate_up_proj", second="mlp.down_proj")})),
    "phi3": TensorPlan(
        {
            **_pair("self_attn.qkv_proj", second="self_attn.o_proj"),
            **_pair("mlp.gate_up_proj", second="mlp.down_proj"),
        },
        gathers=True,
    ),
    "phi": TensorPlan(
        {
            **_pair("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", second="self_attn.dense"),
            **_pair("mlp.fc1", second="mlp.fc2"),
        }
    ),
    "gpt_neox": TensorPlan(
        {
            **_pair("attention.query_key_value", second="attention.dense"),
            **_pair("mlp.dense_h_to_4h", second="mlp.dense_4h_to_h"),
        }
    ),
    "starcoder2": TensorPlan({**_ATTENTION, **_pair("mlp.c_fc", second="mlp.c_proj")}),
}  # fmt: skip
"""The plans by model type. Other types have none, or one that is not listed here: `tp_plan="auto"` is refused for them."""


def tensor_degrees(spec: ModelSpec, most: int = 16) -> list[Degree]:
    """The numbers of devices from 1 to `most`, each with the reason why transformers can't divide the model so, if it can't."""
    return [
        Degree(devices, next(_obstacles(spec, devices), None) if devices > 1 else None)
        for devices in range(1, most + 1)
    ]


def tensor_rank(spec: ModelSpec, devices: int) -> ModelSpec:
    """The model that the first of `devices` devices holds; UsageError where transformers can't divide it so."""
    obstacle = next(_obstacles(spec, devices), None)
    if obstacle is not None:
        possible = ", ".join(str(each.devices) for each in tensor_degrees(spec) if each.reason is None)
        raise UsageError(
            f"transformers can't divide the model over {devices} devices: {obstacle}; possible: {possible}",
            where="--tensor-parallel",
        )
    plan = PLANS[spec.model_type]
    stack = spec.stacks[0]
    cut = msgspec.structs.replace(stack, blocks=tuple(_rank_block(block, plan, devices) for block in stack.blocks))
    return msgspec.structs.replace(
        spec,
        stacks=(cut, *spec.stacks[1:]),
        tensors=tuple(_rank_group(group, plan, devices) for group in spec.tensors),
    )


def _obstacles(spec: ModelSpec, devices: int) -> Iterator[str]:
    plan = PLANS.get(spec.model_type)
    if plan is None:
        yield f"no plan for {spec.model_type} is known"
        return
    if not plan.cuts_heads:
        return
    for block in spec.stacks[0].blocks:
        mixer = block.mixer
        if isinstance(mixer, FullAttention | LatentAttention) and mixer.query_heads % devices:
            yield f"{mixer.query_heads} attention heads do not divide by {devices}"
        if isinstance(mixer, FullAttention) and mixer.kv_heads % devices:
            yield f"{mixer.kv_heads} KV heads do not divide by {devices}, and it does not repeat them"


def _rank_block(block: Block, plan: TensorPlan, devices: int) -> Block:
    mixer, mlp = block.mixer, block.mlp
    if plan.cuts_heads and isinstance(mixer, FullAttention):
        mixer = msgspec.structs.replace(
            mixer, query_heads=mixer.query_heads // devices, kv_heads=mixer.kv_heads // devices
        )
    elif plan.cuts_heads and isinstance(mixer, LatentAttention):
        mixer = msgspec.structs.replace(mixer, query_heads=mixer.query_heads // devices)
    if mlp is not None and any(name.startswith("mlp.experts" if mlp.experts else "mlp.") for name in plan.modules):
        mlp = msgspec.structs.replace(
            mlp, ffn_dim=ceil_div(mlp.ffn_dim, devices), shared_ffn_dim=ceil_div(mlp.shared_ffn_dim, devices)
        )
    return msgspec.structs.replace(block, mixer=mixer, mlp=mlp)


def _rank_group(group: TensorGroup, plan: TensorPlan, devices: int) -> TensorGroup:
    """The share of a group of tensors."""
    inner = group.name.partition(".*.")[2]
    is_bias = inner.endswith(("bias", "_bias"))
    module = inner.removesuffix(".weight").removesuffix(".bias").removesuffix("_bias")
    is_vocabulary = group.part == "head" or group.name.endswith("embed_tokens.weight")
    axis = ROWS if is_vocabulary else plan.modules.get(module)
    if axis is None or group.part not in ("head", "embedding", "attention", "mlp", "experts", "state"):
        return group
    if is_bias:
        if axis == COLUMNS:
            return group
        axis = COLUMNS
    if len(group.shape) < -axis:
        axis = COLUMNS
    place = len(group.shape) + axis
    shape = tuple(ceil_div(size, devices) if number == place else size for number, size in enumerate(group.shape))
    return msgspec.structs.replace(group, shape=shape)
