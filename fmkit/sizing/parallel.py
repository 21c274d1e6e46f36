"""Tensor and expert parallel: what one of several devices holds of a model, and which degrees are possible.

`rank_spec` gives the model as one device sees it, whose tensors and layers any layout and any engine's cache rule can
size: columns of the first projections and rows of the second are divided, so are heads and experts; norms, routers and
MLA's latents are on every device, and KV heads are repeated where there are fewer of them than devices. Rules of vLLM
0.20 (model_executor/layers/linear.py, vocab_parallel_embedding.py, fused_moe; read at 001cabc1be16), which SGLang and
TensorRT-LLM share.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from fmkit.errors import UsageError
from fmkit.model.attention import CrossAttention, EncoderAttention, FullAttention, LatentAttention
from fmkit.model.layers import Parallel, parts_of
from fmkit.model.recurrent import DeltaAttention, LinearAttention, Mamba2, RwkvMatrix, ShortConvolution, StateSpace
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.model.layers import Mixer
    from fmkit.model.spec import Block, Mlp, ModelSpec, TensorGroup

VOCABULARY_STEP = 64
"""The vocabulary is padded to a multiple of this, and then divided."""

_WHOLE = re.compile(
    r"(q_a_proj|kv_a_proj_with_mqa|kv_a_proj|fused_qkv_a_proj|indexer|compressor|shared_expert_gate|relative_attention_bias|\bpos_)"
)
_SECOND = re.compile(
    r"\.(o_proj|out_proj|down_proj|dense|projection|fc2|w2|wo|c_proj|dense_4h_to_h|linear_2|fc_out|proj_out|x_proj)\.(weight|bias)$"
)
"""The second projection of a pair, which is divided by its inputs; every other linear layer is divided by its outputs."""


_KEY_OR_VALUE = re.compile(r"\.(k_proj|v_proj|key|value|k|v)\.(weight|bias)$")
_FUSED = re.compile(r"\.(query_key_value|Wqkv|qkv_proj|qkv)\.(weight|bias)$")
_WHOLE_PARTS = ("norm", "router", "buffer", "projector", "qformer")
"""Parts that every device holds in full."""

MixerKind = TypeVar("MixerKind", bound=msgspec.Struct)


class Degree(NamedTuple):
    """A number of devices, with the reason why the model can't be divided over them; None where it can."""

    devices: int
    reason: str | None


def degrees(spec: ModelSpec, most: int = 16, group_size: int = 1) -> list[Degree]:
    """The numbers of devices from 1 to `most`, each with the reason why it is impossible, if it is.

    `group_size` is the run of weights that share a scale (128 for AWQ), which must not be cut.

    >>> from fmkit.model.spec import Block, Mlp, ModelSpec, Stack
    >>> layer = FullAttention(query_heads=28, kv_heads=4, key_dim=128, value_dim=128)
    >>> stack = Stack(role="decoder", hidden_dim=3584, blocks=(Block(count=28, mixer=layer, mlp=Mlp(ffn_dim=18944, gated=True)),))
    >>> qwen = ModelSpec(architecture="Q", model_type="qwen2", kind="decoder", stacks=(stack,), tensors=(), config_dtype="bfloat16",
    ...     vocab_size=152064, max_context_tokens=32768, context_is_hard=False)
    >>> [degree.devices for degree in degrees(qwen, 8) if degree.reason is None], degrees(qwen, 8)[7].reason
    ([1, 2, 4], '28 attention heads do not divide by 8')
    """
    return [
        Degree(devices, next(_obstacles(spec, devices, group_size), None) if devices > 1 else None)
        for devices in range(1, most + 1)
    ]


def is_divisible(spec: ModelSpec, devices: int) -> bool:
    """Whether each layer of the model can be divided over so many devices."""
    return devices == 1 or next(_obstacles(spec, devices, 1), None) is None


def rank_spec(spec: ModelSpec, devices: int, expert_ranks: int = 1) -> ModelSpec:
    """The model that the most loaded of `devices` devices holds; UsageError where it can't be divided so.

    With `expert_ranks` experts are not cut but spread over so many ranks. The vocabulary size stays: logits are
    gathered on each device.
    """
    if devices == 1 and expert_ranks == 1:
        return spec
    obstacle = next(_obstacles(spec, devices, 1, expert_ranks), None)
    if obstacle is not None:
        option = "--expert-parallel" if expert_ranks > 1 else "--tensor-parallel"
        possible = ", ".join(str(each.devices) for each in degrees(spec) if each.reason is None)
        name = "expert" if expert_ranks > 1 else "tensor"
        raise UsageError(
            f"{name} parallel over {max(devices, expert_ranks)} devices is impossible: {obstacle}"
            + (f"; possible: {possible}" if expert_ranks == 1 else ""),
            where=option,
        )
    kv_heads = _kv_heads(spec)
    return msgspec.structs.replace(
        spec,
        stacks=tuple(
            msgspec.structs.replace(
                stack, blocks=tuple(_rank_block(block, devices, expert_ranks) for block in stack.blocks)
            )
            for stack in spec.stacks
        ),
        tensors=tuple(
            _expert_share(group, expert_ranks)
            if group.part == "experts" and expert_ranks > 1
            else msgspec.structs.replace(group, shape=_rank_shape(group, spec, kv_heads, devices))
            for group in spec.tensors
        ),
    )


def _expert_share(group: TensorGroup, expert_ranks: int) -> TensorGroup:
    """The experts of the rank that has most: whole ones, one more on the first ranks where they don't divide."""
    experts = ceil_div(group.shape[0], expert_ranks)
    active = min(group.active, experts) if group.active is not None else None
    return msgspec.structs.replace(group, shape=(experts, *group.shape[1:]), active=active)


def _obstacles(spec: ModelSpec, devices: int, group_size: int, expert_ranks: int = 1) -> Iterator[str]:
    """Why the text model can't be divided over `devices`. Towers of other modalities are kept whole where they don't divide."""
    if expert_ranks > 1 and not spec.is_mixture:
        yield "the model has no experts"
    for stack in spec.stacks:
        if stack.role not in ("decoder", "encoder"):
            continue
        for block in stack.blocks:
            for mixer in (*parts_of(block.mixer), *([block.cross] if block.cross else [])):
                yield from _mixer_obstacles(mixer, devices)
            if block.mlp is not None:
                yield from _mlp_obstacles(block.mlp, devices, group_size, expert_ranks)


def _mlp_obstacles(mlp: Mlp, devices: int, group_size: int, expert_ranks: int) -> Iterator[str]:
    """Why a feed-forward can't be cut over `devices`, or its experts not be spread over `expert_ranks`."""
    if mlp.experts and expert_ranks > 1:
        if mlp.experts < expert_ranks:
            yield f"{mlp.experts} experts are fewer than {expert_ranks} ranks"
        return
    noun, width = "expert" if mlp.experts else "feed-forward", mlp.ffn_dim
    if width % devices:
        yield f"the {noun} width {width:,} does not divide by {devices}"
    elif (width // devices) % group_size:
        yield f"{width:,} / {devices} = {width // devices:,} cuts a quantisation group of {group_size}"


def _mixer_obstacles(mixer: msgspec.Struct, devices: int) -> Iterator[str]:
    for name, noun in _DIVIDED.get(type(mixer), ()):
        if getattr(mixer, name) % devices:
            yield f"{getattr(mixer, name):,} {noun} do not divide by {devices}"
    kv_heads = getattr(mixer, "kv_heads", 0)
    if kv_heads and kv_heads % devices and devices % kv_heads:
        yield f"{kv_heads} KV heads neither divide by {devices} nor divide it"


_ATTENTION = (("query_heads", "attention heads"),)
_DIVIDED: dict[type, tuple[tuple[str, str], ...]] = {
    FullAttention: _ATTENTION,
    **dict.fromkeys(FullAttention.__subclasses__(), _ATTENTION),
    **dict.fromkeys((c for s in FullAttention.__subclasses__() for c in s.__subclasses__()), _ATTENTION),
    LatentAttention: _ATTENTION,
    CrossAttention: _ATTENTION,
    EncoderAttention: _ATTENTION,
    StateSpace: (("inner_dim", "state channels"),),
    Mamba2: (("heads", "state heads"),),
    DeltaAttention: (("key_heads", "key heads"), ("value_heads", "value heads")),
    LinearAttention: (("heads", "attention heads"),),
    RwkvMatrix: (("heads", "state heads"),),
    ShortConvolution: (("hidden_dim", "channels"),),
}
"""What of each kind of layer is divided over the devices."""


def _rank_block(block: Block, devices: int, expert_ranks: int) -> Block:
    mlp = block.mlp
    if mlp is not None and ((mlp.experts and expert_ranks > 1) or not mlp.ffn_dim % devices):
        inner = mlp.ffn_dim if mlp.experts and expert_ranks > 1 else mlp.ffn_dim // devices
        mlp = msgspec.structs.replace(mlp, ffn_dim=inner, shared_ffn_dim=ceil_div(mlp.shared_ffn_dim, devices))
    cross = block.cross and _rank_mixer(block.cross, devices)
    return msgspec.structs.replace(block, mixer=_rank_mixer(block.mixer, devices), cross=cross, mlp=mlp)


def _rank_mixer(mixer: MixerKind, devices: int) -> MixerKind:
    """The share of a layer: heads and channels divided, at least one KV head; an MLA latent is whole on each device."""
    if isinstance(mixer, Parallel):
        return msgspec.structs.replace(
            mixer, attention=_rank_mixer(mixer.attention, devices), state=_rank_mixer(mixer.state, devices)
        )
    changed = {
        name: getattr(mixer, name) // devices
        for name, _ in _DIVIDED.get(type(mixer), ())
        if getattr(mixer, name) % devices == 0
    }
    for name in ("kv_heads", "cached_heads", "groups"):
        value = getattr(mixer, name, None)
        if value:
            changed[name] = max(1, value // devices)
    return msgspec.structs.replace(mixer, **changed)


def _rank_shape(group: TensorGroup, spec: ModelSpec, kv_heads: dict[int, int], devices: int) -> tuple[int, ...]:
    """The shape that one device holds of each tensor of a group."""
    shape = group.shape
    if not shape or _WHOLE.search(group.name) or group.part in _WHOLE_PARTS:
        return shape
    if group.part in ("embedding", "head"):
        return _rank_vocabulary(shape, spec.vocab_size, devices)
    if group.part == "experts":
        return _rank_experts(group.name, shape, devices)
    if group.module in ("linear", "conv1d"):
        return _rank_linear(group, spec, kv_heads, devices)
    divided = group.part == "state" or group.name.endswith("sinks")
    return _divided(shape, 0, devices) if divided else shape


def _rank_linear(group: TensorGroup, spec: ModelSpec, kv_heads: dict[int, int], devices: int) -> tuple[int, ...]:
    """A linear layer: divided by its outputs, or by its inputs if it is the second of a pair (whose bias stays whole)."""
    shape = group.shape
    second = _SECOND.search(group.name) is not None
    if len(shape) == 1 and second:
        return shape
    axis = int(second) ^ int(group.module == "conv1d") if len(shape) > 1 else 0
    if _KEY_OR_VALUE.search(group.name) and shape[0] in kv_heads:
        return (shape[0] // min(devices, kv_heads[shape[0]]), *shape[1:])
    if _FUSED.search(group.name):
        return _rank_fused(shape, axis, spec, devices)
    return _divided(shape, axis, devices)


def _rank_vocabulary(shape: tuple[int, ...], vocabulary: int | None, devices: int) -> tuple[int, ...]:
    """Rows of the vocabulary, padded to a multiple of 64, over the devices; position tables stay whole.

    >>> _rank_vocabulary((128256, 4096), 128256, 8), _rank_vocabulary((50257, 768), 50257, 2), _rank_vocabulary((1024, 768), 50257, 2)
    ((16032, 4096), (25152, 768), (1024, 768))
    """
    if vocabulary is None or shape[0] < vocabulary:
        return shape
    padded = ceil_div(shape[0], VOCABULARY_STEP) * VOCABULARY_STEP
    return (ceil_div(padded, devices), *shape[1:])


def _rank_experts(name: str, shape: tuple[int, ...], devices: int) -> tuple[int, ...]:
    """Every device has a part of each expert: its inner width is divided, in the first projection and in the second."""
    if "down" in name or name.endswith(("w2", "w2.weight")):
        if len(shape) == 2:
            return shape
        inner = 1 if shape[1] < shape[2] else 2
        return _divided(shape, inner, devices)
    if len(shape) < 3:
        return _divided(shape, len(shape) - 1, devices)
    return _divided(shape, 1 if shape[1] > shape[2] else 2, devices)


def _rank_fused(shape: tuple[int, ...], axis: int, spec: ModelSpec, devices: int) -> tuple[int, ...]:
    """Queries are divided, keys and values too but for at least one head of each."""
    for mixer in _mixers(spec):
        if not isinstance(mixer, FullAttention | EncoderAttention):
            continue
        rest = mixer.kv_heads * (mixer.key_dim + mixer.value_dim)
        if mixer.query_heads * mixer.key_dim + rest != shape[axis] or mixer.query_heads % devices:
            continue
        rows = mixer.query_heads * mixer.key_dim // devices + rest // min(devices, mixer.kv_heads)
        return tuple(rows if place == axis else size for place, size in enumerate(shape))
    return _divided(shape, axis, devices)


def _divided(shape: tuple[int, ...], axis: int, devices: int) -> tuple[int, ...]:
    """The share of one axis; whole where it does not divide, which the model's own towers may choose."""
    if shape[axis] % devices:
        return shape
    return tuple(size // devices if place == axis else size for place, size in enumerate(shape))


def _kv_heads(spec: ModelSpec) -> dict[int, int]:
    """KV heads by the rows of the key and value projections that make them."""
    found: dict[int, int] = {}
    for mixer in _mixers(spec):
        if isinstance(mixer, FullAttention | CrossAttention | EncoderAttention):
            for rows in (mixer.kv_heads * mixer.key_dim, mixer.kv_heads * mixer.value_dim):
                found[rows] = min(found.get(rows, mixer.kv_heads), mixer.kv_heads)
    return found


def _mixers(spec: ModelSpec) -> Iterable[Mixer]:
    for stack in spec.stacks:
        for block in stack.blocks:
            yield from parts_of(block.mixer)
            if block.cross is not None:
                yield block.cross
