"""The projector file (mmproj) of llama.cpp: the vision tower and what leads from it to the language model, loaded beside the model.

Matrices are in 16 bit as published files have them, norms and biases in float32; Gemma 3's patch and position
embeddings too. Counted where images are asked for. gemma-3-4b: 811.79 MiB, as llama.cpp b11549 reports for a file of
these tensors.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import msgspec

from fmkit.sizing.estimate import MemoryLine

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec, TensorGroup
    from fmkit.sizing.engines.plan import Plan
    from fmkit.sizing.estimate import Workload

_WIDE_EMBEDDINGS = frozenset(("gemma3",))
"""Model types whose patch and position embeddings are kept in float32."""

_LAYERS_LEFT_OUT = {"llava": 1}
"""Last layers of the tower whose output is not used (LLaVA takes the last but one): the published file of LLaVA-1.5-7B has 624.4 MB."""

_PARTS = frozenset(("vision", "projector"))
_ENCODER_WIDTHS = 5
"""Vectors of the model's width beside the inner one that ggml holds at the worst moment of an encoder's layer (as for BERT)."""


def mmproj_lines(spec: ModelSpec) -> tuple[MemoryLine, ...]:
    """Weights and compute buffer of the projector file, for one image at a time; nothing for a model without a vision tower."""
    vision = spec.stack("vision")
    if vision is None or vision.fixed_tokens is None or not vision.blocks:
        return ()
    weights = sum(_group_bytes(group, spec) for group in spec.tensors if group.part in _PARTS)
    inner = max((block.mlp.ffn_dim for block in vision.blocks if block.mlp is not None), default=0)
    width = inner + _ENCODER_WIDTHS * vision.hidden_dim
    compute = 4 * vision.fixed_tokens * width
    return (
        MemoryLine(
            part="weights: mmproj",
            bytes=weights,
            phase="steady",
            basis="formula",
            reason="vision tower and projector, matrices in float16, a file of their own",
            source="convert_hf_to_gguf.py --mmproj; equal to what llama.cpp b11549 reports for gemma-3-4b (811.79 MiB)",
            formula=f"sum over {vision.layers} layers, embeddings and projector = {weights:,} B",
        ),
        MemoryLine(
            part="activations: mmproj",
            bytes=compute,
            phase="steady",
            basis="assumed",
            reason="compute buffer of the vision tower with flash attention, for the largest image; nobody measured it for us",
            source="as measured for text encoders (tests/sizing/test_llama_cpp.py)",
            formula=f"4 B x {vision.fixed_tokens:,} patches x ({inner:,} + {_ENCODER_WIDTHS} x {vision.hidden_dim:,}) = {compute:,} B",
        ),
    )


def _group_bytes(group: TensorGroup, spec: ModelSpec) -> int:
    wide = len(group.shape) == 1 or (spec.model_type in _WIDE_EMBEDDINGS and group.module in ("conv", "embedding"))
    left_out = _LAYERS_LEFT_OUT.get(spec.model_type, 0) if "*" in group.name else 0
    return prod(group.shape) * (group.count - left_out) * (4 if wide else 2)


def with_mmproj(found: Plan, spec: ModelSpec, workload: Workload) -> Plan:
    """The plan of the device that the projector file is loaded on, where images are asked for."""
    lines = mmproj_lines(spec) if workload.images else ()
    if not lines:
        return found
    weights, compute = lines
    return msgspec.structs.replace(found, weights=(*found.weights, weights), decode=(*found.decode, compute))
