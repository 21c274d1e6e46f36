"""Pipeline stages: a model cut by whole layers, each part a model of its own.

What lies outside of the layers goes to the ends: the embedding to the first stage, the last norm and the head to the
last, which needs the embedding too where it is the head. Towers of other modalities belong to the stage that reads the
input, unless the engine keeps them everywhere.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import UsageError
from fmkit.model.spec import TOWER_PARTS
from fmkit.model.tensor_layers import layers_with

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec, Stack, TensorGroup


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Layers `first` up to, but without, `end`, and what of the rest lies with them."""

    first: int
    end: int
    has_embedding: bool = False
    has_head: bool = False
    has_towers: bool = False

    @property
    def layers(self) -> int:
        """How many layers."""
        return self.end - self.first

    @property
    def name(self) -> str:
        """As it is shown: `layers 0-15`."""
        if not self.layers:
            return "no layers"
        return f"layer {self.first}" if self.layers == 1 else f"layers {self.first}-{self.end - 1}"


def split_stack(spec: ModelSpec) -> Stack:
    """The stack whose layers are divided: the decoder, else the first."""
    return spec.cached_stack or spec.stacks[0]


def stage_spec(spec: ModelSpec, stage: Stage) -> ModelSpec:
    """The model that one stage holds. A stage without the head makes no logits; one without towers takes no images.

    The shares of all stages add up to the model, but for a tied embedding, which first and last stage both hold.
    """
    stack = split_stack(spec)
    numbers = Counter(stack.layer_blocks[stage.first : stage.end])
    blocks = tuple(msgspec.structs.replace(stack.blocks[number], count=count) for number, count in numbers.items())
    cut = msgspec.structs.replace(stack, blocks=blocks, order=())
    tensors = tuple(
        msgspec.structs.replace(group, count=count)
        for group in spec.tensors
        if (count := _count_in(group, spec, stack, stage))
    )
    towers = tuple(other for other in spec.stacks if other is not stack and stage.has_towers)
    return msgspec.structs.replace(
        spec, stacks=(cut, *towers), tensors=tensors, has_head=spec.has_head and stage.has_head
    )


def _count_in(group: TensorGroup, spec: ModelSpec, stack: Stack, stage: Stage) -> int:
    """How many of a group's tensors the stage holds."""
    if "*" in group.name and is_in_stack(group, spec, stack):
        return sum(stage.first <= layer < stage.end for layer in layers_with(group, stack))
    return group.count if _holds(group, spec, stack, stage) else 0


def _holds(group: TensorGroup, spec: ModelSpec, stack: Stack, stage: Stage) -> bool:
    """Whether a tensor outside of the divided layers lies with the stage."""
    if group.part in TOWER_PARTS and group.part != stack.role:
        is_output = group.part == "projector" and len(spec.stacks) == 1
        return stage.has_head if is_output else stage.has_towers
    if "*" in group.name:
        return stage.has_towers
    if group.part == "embedding":
        is_tied = spec.tied_head and group.shape[0] >= (spec.vocab_size or 0)
        return stage.has_embedding or (is_tied and stage.has_head)
    if group.part == stack.role:
        return stage.has_embedding
    return stage.has_head or group.part == "buffer"


def is_in_stack(group: TensorGroup, spec: ModelSpec, stack: Stack) -> bool:
    """Whether a tensor of a list of layers belongs to that stack; in an encoder-decoder the name says so."""
    if group.part in TOWER_PARTS:
        return group.part == stack.role
    if len(spec.stacks) == 1 or spec.stack("encoder") is None or spec.cached_stack is None:
        return True
    return ("decoder" in group.name) == (stack.role == "decoder")


def vllm_stages(layers: int, stages: int) -> list[range]:
    """The layers of each stage as vLLM divides them; UsageError where there are more stages than layers.

    Layers that are left over go to the stages before the last, from the last but one backwards: the last one has the
    head. Source: vLLM 0.20 distributed/utils.py, `get_pp_indices`; the ranges of its own test are ours
    (tests/sizing/test_stages.py).

    >>> [len(stage) for stage in vllm_stages(62, 4)]  # Gemma 3 27B
    [15, 16, 16, 15]
    """
    if stages > layers:
        raise UsageError(f"{stages} stages for {layers} layers: at most {layers}", where="--pipeline-parallel")
    each, left = divmod(layers, stages)
    counts = [each] * stages
    for place in range(left):
        counts[-2 - place] += 1
    ends = [sum(counts[: place + 1]) for place in range(stages)]
    return [range(end - count, end) for end, count in zip(ends, counts, strict=True)]


def stages_of(spec: ModelSpec, layers: list[range], *, towers_everywhere: bool) -> list[Stage]:
    """Stages for those ranges of layers: the embedding at the first, the head at the last."""
    last = len(layers) - 1
    return [
        Stage(
            first=found.start,
            end=found.stop,
            has_embedding=place == 0,
            has_head=place == last,
            has_towers=len(spec.stacks) > 1 and (towers_everywhere or place == 0),
        )
        for place, found in enumerate(layers)
    ]
