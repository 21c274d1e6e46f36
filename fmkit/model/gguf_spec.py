"""The header of a GGUF file -> ModelSpec: every tensor with its own type, layers from llama.cpp's keys.

`model_type` is `gguf:` and the architecture. Understood are the architectures of `fmkit.model.gguf_lineages`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.errors import ArchitectureUnknownError, UnsafeInputError
from fmkit.model.attention import EncoderAttention, FullAttention, LatentAttention, SlidingAttention
from fmkit.model.gguf_lineages import GGUF_PREFIX, LINEAGES, WINDOW_PATTERNS
from fmkit.model.recurrent import StateSpace
from fmkit.model.spec import Block, Mlp, ModelSpec, Part, Stack, TensorGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmkit.model.layers import Mixer
    from fmkit.model.stored import StoredTensor

_MOST_LAYERS = 10_000


class Keys:
    """The keys of one architecture, checked for type as they are asked for."""

    def __init__(self, keys: Mapping[str, object], where: str) -> None:
        self._keys = keys
        self._where = where
        architecture = keys.get("general.architecture")
        if not isinstance(architecture, str):
            raise self.missing("general.architecture")
        self.architecture = architecture

    def missing(self, name: str) -> ArchitectureUnknownError:
        """The error for a key that sizing needs."""
        return ArchitectureUnknownError(f"the file does not say {name}", where=self._where)

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number above zero; the largest where the file has one per layer."""
        value = self._keys.get(f"{self.architecture}.{name}")
        if value is None:
            if default is None:
                raise self.missing(f"{self.architecture}.{name}")
            return default
        if isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
            value = max(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
            raise UnsafeInputError(f"{name} is no whole number", where=self._where)
        return value

    def flags(self, name: str) -> tuple[bool, ...] | None:
        """An array of booleans, one per layer, or None."""
        value = self._keys.get(f"{self.architecture}.{name}")
        return tuple(bool(item) for item in value) if isinstance(value, tuple) else None


def read_gguf_spec(keys: Mapping[str, object], tensors: Sequence[StoredTensor], *, where: str) -> ModelSpec:
    """The spec of a GGUF file from its keys and tensors; ArchitectureUnknownError where llama.cpp's rules are not known for it."""
    facts = Keys(keys, where)
    known = {lineage.architecture for lineage in LINEAGES.values()}
    if facts.architecture not in known:
        raise ArchitectureUnknownError(
            f"GGUF files of architecture {facts.architecture[:60]!r} are not known to this version; "
            f"known are {', '.join(sorted(known))}",
            where=where,
        )
    names = {tensor.name: tensor for tensor in tensors}
    embedding = names.get("token_embd.weight")
    if embedding is None:
        raise facts.missing("token_embd.weight")
    layers = facts.whole("block_count")
    if not 0 < layers <= _MOST_LAYERS:
        raise UnsafeInputError(f"{layers:,} layers", where=where)
    used = facts.whole("expert_used_count", 0)
    causal = next(lineage.causal for lineage in LINEAGES.values() if lineage.architecture == facts.architecture)
    return ModelSpec(
        architecture=f"GGUF {facts.architecture}",
        model_type=f"{GGUF_PREFIX}{facts.architecture}",
        kind="state-space" if facts.architecture == "mamba" else "decoder" if causal else "encoder",
        stacks=(
            Stack(
                role="decoder" if causal else "encoder",
                hidden_dim=facts.whole("embedding_length"),
                blocks=tuple(_blocks(facts, layers, names)),
            ),
        ),
        tensors=tuple(_groups(tensors, used)),
        config_dtype="float16",
        vocab_size=embedding.shape[0],
        max_context_tokens=facts.whole("context_length"),
        context_is_hard=not causal,
        tied_head=causal and "output.weight" not in names,
        has_head=causal,
    )


def _groups(tensors: Iterable[StoredTensor], experts_per_token: int) -> Iterable[TensorGroup]:
    for tensor in tensors:
        part = _part(tensor.name)
        yield TensorGroup(
            name=tensor.name,
            part=part,
            module="parameter",
            shape=tensor.shape,
            active=experts_per_token if part == "experts" and len(tensor.shape) > 1 and experts_per_token else None,
            dtype=tensor.dtype,
        )


def _part(name: str) -> Part:
    """The part of the model that a tensor of llama.cpp belongs to.

    >>> _part("blk.3.ffn_down_exps.weight"), _part("blk.3.attn_q_norm.weight"), _part("output.weight")
    ('experts', 'norm', 'head')
    """
    inner = re.sub(r"^blk\.\d+\.", "", name)
    rules: tuple[tuple[str, Part], ...] = (
        ("_norm", "norm"), ("token_embd", "embedding"), ("position_embd", "embedding"), ("token_types", "embedding"), ("output.", "head"), ("_exps", "experts"),
        ("ffn_gate_inp", "router"), ("exp_probs", "router"), ("ffn_", "mlp"), ("ssm_", "state"),
    )  # fmt: skip
    if inner.startswith("attn_output."):
        return "attention"
    return next((part for word, part in rules if word in inner), "attention")


def _blocks(facts: Keys, layers: int, names: Mapping[str, StoredTensor]) -> Iterable[Block]:
    pattern = facts.flags("attention.sliding_window_pattern")
    every = WINDOW_PATTERNS.get(facts.architecture, 0)
    for layer in range(layers):
        local = (
            pattern[layer]
            if pattern is not None and layer < len(pattern)
            else bool(every and layer % every < every - 1)
        )
        yield Block(count=1, mixer=_mixer(facts, local=local), mlp=_mlp(facts, layer, names))


def _mixer(facts: Keys, *, local: bool) -> Mixer:
    if facts.architecture == "mamba":
        return StateSpace(
            inner_dim=facts.whole("ssm.inner_size"),
            state_dim=facts.whole("ssm.state_size"),
            conv_kernel=facts.whole("ssm.conv_kernel"),
            dt_rank=facts.whole("ssm.time_step_rank"),
        )
    heads = facts.whole("attention.head_count")
    if heads < 1:
        raise facts.missing("attention.head_count")
    default = facts.whole("embedding_length") // heads
    key_dim = facts.whole("attention.key_length", default)
    value_dim = facts.whole("attention.value_length", default)
    if facts.architecture == "bert":
        return EncoderAttention(query_heads=heads, kv_heads=heads, key_dim=key_dim, value_dim=value_dim)
    rank = facts.whole("attention.kv_lora_rank", 0)
    if rank:
        whole_key = facts.whole("attention.key_length_mla", 0)
        rope = facts.whole("rope.dimension_count")
        if not whole_key:
            raise facts.missing(
                "attention.key_length_mla (the file was converted before latent attention was supported)"
            )
        return LatentAttention(
            query_heads=heads,
            latent_dim=rank,
            rope_dim=rope,
            nope_dim=whole_key - rope,
            value_dim=facts.whole("attention.value_length_mla"),
        )
    kv_heads = facts.whole("attention.head_count_kv", heads)
    window = facts.whole("attention.sliding_window", 0)
    if local and window:
        return SlidingAttention(
            query_heads=heads, kv_heads=kv_heads, key_dim=key_dim, value_dim=value_dim, window_tokens=window
        )
    return FullAttention(query_heads=heads, kv_heads=kv_heads, key_dim=key_dim, value_dim=value_dim)


def _mlp(facts: Keys, layer: int, names: Mapping[str, StoredTensor]) -> Mlp | None:
    experts = names.get(f"blk.{layer}.ffn_down_exps.weight")
    if experts is not None:
        return Mlp(
            ffn_dim=experts.shape[-1],
            gated=True,
            experts=facts.whole("expert_count"),
            experts_per_token=facts.whole("expert_used_count"),
        )
    down = names.get(f"blk.{layer}.ffn_down.weight")
    up = names.get(f"blk.{layer}.ffn_up.weight")
    if down is None or up is None:
        return None
    gated = f"blk.{layer}.ffn_gate.weight" in names or up.shape[0] == 2 * down.shape[-1]
    return Mlp(ffn_dim=down.shape[-1], gated=gated)
