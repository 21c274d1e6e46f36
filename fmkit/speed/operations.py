"""Operations and bytes of one step, from the model's tensors and layer kinds.

Decode reads every weight of the decoder once per step (of the experts, those the batch is routed to) and each sequence's cache.
Reading runs every tower once: 2 operations per active weight and token, and attention over the tokens before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.speed.attention import attention_operations, crosses, step_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec, Stack, StackRole, TensorGroup

TOWER_PARTS = ("vision", "audio", "qformer")
NOT_MULTIPLIED = ("embedding", "head", "buffer", "projector")
"""Parts that are not applied to every token: rows looked up, the last token's logits, and what joins two towers."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is read before the first token: tokens of the prompt and of the encoder and images per sequence, and sequences."""

    prompt_tokens: int
    encoder_tokens: int = 0
    images: int = 0
    sequences: int = 1


class TowerPass(msgspec.Struct, frozen=True, kw_only=True):
    """One run of all sequences through one tower: floating-point operations, and bytes of weights read once.

    `attention_operations` are those of `operations` that grow with the square of the tokens; of them, in a decode step,
    `shared_attention_operations` are of heads that share one key and value. `expanding_operations` of a decode step make keys and
    values of the latents of all tokens held. `steps` is how many parts an engine takes the tokens in: in each of them layers are launched
    and weights are read. `cache_bytes` are read beside the weights (decoding); `tokens` of all sequences pass
    through together. `experts` are those of all layers that they are routed to.
    """

    role: StackRole
    layers: int
    operations: float
    weight_bytes: int
    hidden_dim: int = 0
    tokens: int = 1
    attention_operations: float = 0.0
    shared_attention_operations: float = 0.0
    expanding_operations: float = 0.0
    cache_bytes: int = 0
    experts: float = 0.0
    steps: int = 1

    @property
    def expansion(self) -> TowerPass | None:
        """The product that expands latents before a decode step, over as many tokens at once as a prompt has; None where none is."""
        if not self.expanding_operations:
            return None
        return TowerPass(
            role=self.role, layers=0, operations=self.expanding_operations, weight_bytes=0, tokens=self.tokens
        )


def reading_passes(spec: ModelSpec, layout: Layout, reading: Reading) -> tuple[TowerPass, ...]:
    """Every tower that runs before the first token: image and audio towers, Q-Former, text encoder, decoder."""
    return tuple(_passes(spec, layout, reading))


def _passes(spec: ModelSpec, layout: Layout, reading: Reading) -> Iterator[TowerPass]:
    for stack in spec.stacks:
        tokens = stack_tokens(spec, stack, reading)
        if tokens == 0:
            continue
        runs = reading.sequences * (reading.images * stack.tiles if stack.role in ("vision", "qformer") else 1)
        memory_tokens = _memory_tokens(spec, stack, reading)
        yield TowerPass(
            role=stack.role,
            layers=stack.layers,
            operations=runs * tower_operations(spec, stack, tokens, memory_tokens),
            weight_bytes=weight_bytes(spec, layout, stack.role, runs * tokens),
            hidden_dim=stack.hidden_dim,
            tokens=runs * tokens,
            attention_operations=runs * attention_operations(stack, tokens, memory_tokens),
            experts=routed_experts(spec, stack.role, runs * tokens),
        )


def decode_pass(
    spec: ModelSpec, layout: Layout, context_tokens: int, sequences: int, cache_bytes: int, engine: str
) -> TowerPass | None:
    """One decode step of all sequences in an engine, each holding `context_tokens`; None for a model that does not decode.

    Every weight is multiplied once per sequence, the head too; attention goes over the tokens held, of the decoder and of another
    tower's through `cache_bytes` only. Where the engine expands latents, it does so for all of these tokens.
    """
    stack = spec.cached_stack
    if stack is None or not spec.writes:
        return None
    attending = step_attention(stack, context_tokens, engine)
    weights = sum(
        group.active_elements
        for group in spec.tensors
        if group.part not in ("embedding", "buffer", "projector") and tower_of(group, spec) == "decoder"
    )
    head = _token_embedding(spec) if spec.tied_head else None
    weights += head.elements if head is not None else 0
    return TowerPass(
        role="decoder",
        layers=stack.layers,
        operations=sequences * (2.0 * weights + attending.attention + attending.expanding),
        weight_bytes=decode_weight_bytes(spec, layout, sequences),
        hidden_dim=stack.hidden_dim,
        tokens=sequences,
        attention_operations=sequences * attending.attention,
        shared_attention_operations=sequences * attending.shared,
        expanding_operations=sequences * attending.expanding,
        cache_bytes=cache_bytes,
        experts=routed_experts(spec, "decoder", sequences),
    )


def stack_tokens(spec: ModelSpec, stack: Stack, reading: Reading) -> int:
    """Tokens of one sequence (of one image, for a tower of images) that pass through a stack; 0 where it doesn't run.

    A decoder with an encoder of its own starts from one token. A tower of images without a length of its own counts as long as what it
    hands on.
    """
    if stack.role in ("vision", "qformer"):
        return (stack.fixed_tokens or spec.image_tokens or 0) if reading.images else 0
    if stack.fixed_tokens is not None:
        return stack.fixed_tokens
    if stack.role == "encoder" and spec.cached_stack is not None:
        return reading.encoder_tokens or reading.prompt_tokens
    if stack.role == "decoder" and spec.stack("encoder") is not None:
        return 1
    return min(stack.max_tokens or reading.prompt_tokens, reading.prompt_tokens)


def _memory_tokens(spec: ModelSpec, stack: Stack, reading: Reading) -> int:
    """Tokens of another tower that the cross-attention of this one attends to."""
    source = spec.stack("vision") if stack.role == "qformer" else spec.stack("encoder") or spec.stack("audio")
    if source is not None:
        return stack_tokens(spec, source, reading)
    return reading.encoder_tokens if reading.images else 0


def tower_operations(spec: ModelSpec, stack: Stack, tokens: int, memory_tokens: int = 0) -> float:
    """Floating-point operations to run `tokens` tokens of one sequence through one tower.

    2 per active weight and token, but keys and values of cross-attention are projected once per token of the other tower; plus
    attention. Embedding lookups are free, and the head runs for the last token only.
    """
    weights = sum(group.active_elements for group in spec.tensors if _multiplies(group, spec, stack.role))
    vision = spec.stack("vision")
    width = vision.hidden_dim if stack.role == "qformer" and vision is not None else stack.hidden_dim
    crossed = width * sum(cross.token_bytes(1) * count for cross, count in crosses(stack))
    projected = (weights - crossed) * tokens + crossed * memory_tokens + _projector(spec, stack)
    return 2.0 * projected + attention_operations(stack, tokens, memory_tokens)


def _projector(spec: ModelSpec, stack: Stack) -> int:
    """Weights times rows of what joins towers: once per token of an image it hands to a decoder, else once per sequence."""
    joined = spec.stack("vision") if spec.cached_stack is not None else spec.stacks[0]
    if stack is not joined:
        return 0
    rows = (spec.image_tokens or 1) if stack.role == "vision" else 1
    return rows * sum(group.elements for group in spec.tensors if group.part == "projector")


def tower_of(group: TensorGroup, spec: ModelSpec) -> StackRole:
    """The role of the stack that a tensor belongs to."""
    if group.part in ("vision", "audio", "qformer"):
        return group.part
    if spec.cached_stack is None:
        return "encoder"
    return "encoder" if spec.stack("encoder") is not None and ".encoder." in f".{group.name}" else "decoder"


def _multiplies(group: TensorGroup, spec: ModelSpec, role: StackRole) -> bool:
    if group.part in NOT_MULTIPLIED or tower_of(group, spec) != role:
        return False
    return group.part not in TOWER_PARTS or group.module in ("linear", "conv1d", "conv")


def weight_bytes(spec: ModelSpec, layout: Layout, role: StackRole, tokens: int) -> int:
    """Bytes of one tower's weights read once for `tokens` tokens, without the input embedding (rows are looked up).

    Experts count by how many distinct ones the tokens are expected to touch: E * (1 - (1 - k/E) ** tokens).
    """
    total = 0.0
    for group in spec.tensors:
        if group.part in ("projector", "buffer") or tower_of(group, spec) != role:
            continue
        if group.part == "embedding" and not (spec.tied_head and group is _token_embedding(spec)):
            continue
        size = layout.tensor_group_bytes(group, spec.config_dtype)
        if group.active is not None:
            size = int(size * _touched(group.active, group.shape[0], tokens))
        total += size
    return int(total)


def _touched(active: int, experts: int, tokens: int) -> float:
    """The share of a layer's experts that so many tokens are expected to touch, each routed to `active` of them."""
    return 1.0 - (1 - active / experts) ** tokens


def routed_experts(spec: ModelSpec, role: StackRole, tokens: int) -> float:
    """Experts of all layers of a tower that are multiplied for so many tokens; an expert's two or three matrices count once."""
    layers: dict[tuple[int, int], int] = {}
    for group in spec.tensors:
        if group.active is not None and tower_of(group, spec) == role:
            kind = (group.active, group.shape[0])
            layers[kind] = max(layers.get(kind, 0), group.count)
    return sum(count * experts * _touched(active, experts, tokens) for (active, experts), count in layers.items())


def routed_expert_bytes(spec: ModelSpec, layout: Layout, tokens: int) -> float:
    """Bytes of the decoder's experts that so many tokens are expected to be routed to, of all layers."""
    return sum(
        layout.tensor_group_bytes(group, spec.config_dtype) * _touched(group.active, group.shape[0], tokens)
        for group in spec.tensors
        if group.active is not None and tower_of(group, spec) == "decoder"
    )


def decode_weight_bytes(spec: ModelSpec, layout: Layout, sequences: int) -> int:
    """Bytes of weights read in one decode step of `sequences` sequences: the decoder's, for the encoders ran before."""
    return weight_bytes(spec, layout, "decoder", sequences)


def _token_embedding(spec: ModelSpec) -> TensorGroup | None:
    """The table that a tied head multiplies with: the decoder's own, not the larger one of embeddings for each layer (Gemma 3n and 4)."""
    stack = spec.cached_stack or spec.stacks[0]
    embeddings = [group for group in spec.tensors if group.part == "embedding"]
    fitting = [group for group in embeddings if group.shape[-1] == stack.hidden_dim]
    return max(fitting or embeddings, key=lambda group: group.elements, default=None)
