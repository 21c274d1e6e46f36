"""What a model is: its stacks of blocks, its tensors and its limits.

A ModelSpec is made from a config.json by `fmkit.model.architectures` and says everything that sizing and speed
need; it holds no bytes of any precision, for the precision is the engine's choice.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Literal

import msgspec

from fmkit.model.attention import CrossAttention
from fmkit.model.layers import Mixer
from fmkit.model.precision import Layout

Kind = Literal["decoder", "encoder", "encoder-decoder", "clip", "vision-language", "speech", "state-space", "hybrid"]
"""What a model takes and gives; mixture-of-experts, latent attention and windows are properties of its blocks."""

StackRole = Literal["decoder", "encoder", "vision", "audio", "qformer"]

Part = Literal[
    "embedding", "attention", "mlp", "experts", "router", "norm", "state", "head", "vision", "audio", "qformer",
    "projector", "buffer", "adapter", "whole",
]  # fmt: skip
"""The part of the model that a tensor belongs to; memory is reported by part. `head` is the projection to the
vocabulary, which quantisers leave alone; poolers, classifiers and the layers between towers are `projector`. A tower of
another modality (`vision`, `audio`, `qformer`) is one part, norms and all. `whole` is a file whose inside is not
known."""

TOWER_ROLES = frozenset(("vision", "audio", "qformer"))
"""The stacks of another modality; what belongs to one is a part of that name."""

TOWER_PARTS = TOWER_ROLES | {"projector"}
"""Parts of the model that belong to another modality, or lie between two."""

Module = Literal["linear", "conv1d", "embedding", "norm", "conv", "parameter", "buffer"]
"""The class that owns a tensor: quantisers of transformers touch `linear` (torch.nn.Linear) and `conv1d` (GPT-2's
transposed Linear, shape [in, out]); fused experts are bare `parameter`s and stay as they are."""


class TensorGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`count` tensors of one shape and one role; tied tensors are listed once.

    `name` is the parameter's name in transformers with the layer number as `*`; `shape` is PyTorch's. For experts the
    first dimension is the expert; `active` of them run for one token. `dtype` is set where the type does not follow the
    model's (buffers, parts kept in float32). `quantisable` is False where the implementation leaves a Linear alone,
    `keeps_float32` True where it does so for the end of a name in the class's `_keep_in_fp32_modules` (T5's `wo`): a
    float32 matrix beside float16, one like the others beside bfloat16.
    `from_header` says that shape and type were read in a file and not worked out from config.json, `inputs_first` that
    fused experts lie transposed.
    """

    name: str
    part: Part
    module: Module
    shape: tuple[int, ...]
    count: int = 1
    active: int | None = None
    dtype: str | None = None
    quantisable: bool = True
    keeps_float32: bool = False
    from_header: bool = False
    inputs_first: bool = False

    @property
    def elements(self) -> int:
        """Elements of all `count` tensors."""
        return prod(self.shape) * self.count

    @property
    def active_elements(self) -> int:
        """Elements that take part in the computation of one token."""
        if self.active is None:
            return self.elements
        return self.elements // self.shape[0] * self.active


class Mlp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The feed-forward half of a block: dense, or a mixture of experts when `experts` is set.

    `ffn_dim` is the inner width of the dense layer, or of one expert; `shared_ffn_dim` that of the experts every token
    passes through; `gated` means two input projections (SwiGLU, GeGLU).
    """

    ffn_dim: int
    gated: bool
    experts: int = 0
    experts_per_token: int = 0
    shared_ffn_dim: int = 0


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`count` equal blocks: a mixer (attention or state), cross-attention where a decoder has it, and a feed-forward."""

    count: int
    mixer: Mixer
    cross: CrossAttention | None = None
    mlp: Mlp | None = None


class Stack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tower of blocks.

    `fixed_tokens` is its length where the input does not decide it (1500 for Whisper's encoder, patches + 1 for a
    vision tower, 32 queries for a Q-Former); `tiles` how many such rows one image becomes, at the largest cut; `implementation` the transformers model type whose code runs it, where
    that is not the model's own (a Llama inside LLaVA). `order` is the number of the block that each layer is, where
    kinds alternate; empty where the blocks follow one another.
    """

    role: StackRole
    hidden_dim: int
    blocks: tuple[Block, ...]
    fixed_tokens: int | None = None
    tiles: int = 1
    max_tokens: int | None = None
    implementation: str | None = None
    order: tuple[int, ...] = ()

    @property
    def layers(self) -> int:
        """Blocks in the stack."""
        return sum(block.count for block in self.blocks)

    @property
    def layer_blocks(self) -> tuple[int, ...]:
        """The number of the block that each layer is, from the first layer to the last."""
        return self.order or tuple(number for number, block in enumerate(self.blocks) for _ in range(block.count))


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """A model's architecture, as far as memory and speed depend on it.

    `stacks[0]` is the one that reads or writes the text the user thinks of; `max_context_tokens` is the limit of the
    decoder's cache (of the input, for an encoder). `context_is_hard` says whether a longer input is impossible (learned
    positions, a processor that truncates) or merely untrained (RoPE). `image_tokens` is what one image adds to the
    decoder's context. `config_dtype` is the type that the config names for the stored weights, the class default of float32 where
    it names none (`names_dtype` False: what is stored is not known). `has_head` says whether the class projects to the vocabulary (a classifier doesn't), `tied_head`
    whether it does so with the embedding. `logits_to_keep` says whether the implementation can compute the last token's
    logits only; `reads_only` is for a model with a head that is used for one pass all the same (a reranker that compares two tokens' logits). `linear_rope_factor` is that of linear RoPE scaling: `max_context_tokens` has it applied. `stored` is
    the layout in which the repository keeps its weights where that is a quantised one, `stored_fault` what is not
    understood of it; `stored_tensors` are those that its files list and that are loaded, where their headers were read.
    `notes` says what was assumed and what the count leaves out.
    """

    architecture: str
    model_type: str
    kind: Kind
    stacks: tuple[Stack, ...]
    tensors: tuple[TensorGroup, ...]
    config_dtype: str
    names_dtype: bool = True
    vocab_size: int | None
    max_context_tokens: int | None
    context_is_hard: bool
    tied_head: bool = False
    has_head: bool = True
    reads_only: bool = False
    logits_to_keep: bool = True
    positions: Literal["rope", "learned", "sinusoidal", "alibi", "relative", "none"] = "rope"
    image_tokens: int | None = None
    embedding_dim: int | None = None
    encoder_max_tokens: int | None = None
    linear_rope_factor: float = 1.0
    stored: Layout | None = None
    stored_fault: str | None = None
    stored_tensors: tuple[TensorGroup, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def stored_layout(self) -> str | None:
        """The id of the layout in which the repository keeps its weights, where that is a quantised one."""
        return self.stored.id if self.stored is not None else None

    @property
    def params(self) -> int:
        """Parameters, tied ones once, buffers not counted: what `transformers` counts on the meta device."""
        return sum(group.elements for group in self.tensors if group.part != "buffer")

    @property
    def active_params(self) -> int:
        """Parameters that one token passes through: all but the experts it is not routed to."""
        return sum(group.active_elements for group in self.tensors if group.part != "buffer")

    @property
    def active_params_without_embedding(self) -> int:
        """Those of `active_params` that are multiplied: rows of an input embedding are looked up, unless it is the output head too.

        The convention of OpenAI's figures: 5.13B for gpt-oss-120b, of which 5.71B are active with the embedding.
        """
        looked_up = 0 if self.tied_head else sum(group.elements for group in self.tensors if group.part == "embedding")
        return self.active_params - looked_up

    @property
    def writes(self) -> bool:
        """Whether it generates: it has a decoder and a head, and is not used for one pass only (embeddings, scores of pairs)."""
        return self.cached_stack is not None and self.has_head and not self.reads_only

    @property
    def is_mixture(self) -> bool:
        """Whether any block routes its tokens to experts."""
        return any(block.mlp is not None and block.mlp.experts for stack in self.stacks for block in stack.blocks)

    def stack(self, role: StackRole) -> Stack | None:
        """The stack with that role, or None."""
        for stack in self.stacks:  # asked many times per estimate: a loop is three times as fast as a generator
            if stack.role == role:
                return stack
        return None

    @cached_property
    def cached_stack(self) -> Stack | None:
        """The stack that keeps a cache between steps: the decoder; None for encoders and CLIP."""
        return self.stack("decoder")

    @cached_property
    def attended_stack(self) -> Stack | None:
        """The stack whose output the decoder attends to, None for a model without one."""
        stack = self.cached_stack
        if stack is None or not any(block.cross is not None for block in stack.blocks):
            return None
        return self.stack("encoder") or self.stack("audio")
