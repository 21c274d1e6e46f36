"""Qwen3-VL and Qwen3.5 with images: the tower, its mergers, and Qwen3, Qwen3-MoE or the hybrids of Qwen3.5."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import qwen3, qwen3_moe, qwen3_next
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import (
    checked_name,
    multimodal_spec,
    sized_note,
    square_patches,
    tower_blocks,
)
from fmkit.model.architectures.qwen2_vl import rotary_positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
DEFAULT_DEEPSTACK = 3
"""Layers whose features go to the language model's first layers: default of Qwen3VLVisionConfig, transformers 5.23."""
_LINEAGES: dict[str, tuple[str, str, Callable[[ConfigReader, Tensors], TextModel]]] = {
    "qwen3_vl": ("Qwen3VLForConditionalGeneration", "qwen3", qwen3.text_model),
    "qwen3_vl_moe": ("Qwen3VLMoeForConditionalGeneration", "qwen3_moe", qwen3_moe.text_model),
    "qwen3_5": ("Qwen3_5ForConditionalGeneration", "qwen3_5_text", qwen3_next.text_model),
    "qwen3_5_moe": ("Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe_text", qwen3_next.text_model),
}
"""Class, the code that runs the language model, and its reader."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen3-VL or Qwen3.5 config."""
    known, implementation, build = _LINEAGES[str(config.model_type)]
    name = checked_name(config, known)
    tensors = Tensors()
    vision_config, text_config = config.part("vision_config"), config.part("text_config")
    deepstack = config.model_type in ("qwen3_vl", "qwen3_vl_moe")
    vision, merge = _vision_tower(vision_config, tensors.at("model.visual", part="vision"), deepstack=deepstack)
    if "3_5" in implementation and text_config.model_type != implementation:
        raise config.unknown(f"text model of type {str(text_config.model_type)[:60]!r} is not understood")
    text = build(text_config, tensors.at("model.language_model"))
    ties = text.tied or config.flag("tie_word_embeddings", default=False)
    text = replace(text, stack=msgspec.structs.replace(text.stack, implementation=implementation), tied=ties)
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // (merge * merge)
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(sized_note(tokens),)
    )


def _vision_tower(config: ConfigReader, visual: Tensors, *, deepstack: bool) -> tuple[Stack, int]:
    """Qwen3VLVisionModel, and patches merged per side. Class defaults: Qwen3VLVisionConfig, transformers 5.23."""
    hidden, out = config.size("hidden_size", default=1152), config.size("out_hidden_size", default=3584)
    layers, query = config.layers("depth", class_default=27), config.size("num_heads", default=16)
    ffn, merge = config.size("intermediate_size", default=4304), config.size("spatial_merge_size", default=2)
    patch = config.size("patch_size", default=16)
    shape = (hidden, config.size("in_channels", default=3), config.size("temporal_patch_size", default=2), patch, patch)
    visual.parameter("patch_embed.proj.weight", shape, part="vision")
    visual.parameter("patch_embed.proj.bias", (hidden,), part="vision")
    visual.embedding("pos_embed", config.size("num_position_embeddings", default=2304), hidden)
    layer = visual.at("blocks.*", count=layers)
    layer.norm("norm1", hidden, bias=True)
    layer.norm("norm2", hidden, bias=True)
    layer.linear("attn.qkv", 3 * hidden, hidden, bias=True, part="vision")
    layer.linear("attn.proj", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.linear_fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.linear_fc2", hidden, ffn, bias=True, part="vision")
    wide = hidden * merge * merge
    _merger(visual.at("merger"), hidden, wide, out)
    if deepstack:
        tapped = config.sizes("deepstack_visual_indexes")
        count = DEFAULT_DEEPSTACK if tapped is None else len(tapped)
        _merger(visual.at("deepstack_merger_list.*", count=count), wide, wide, out)
    blocks = tower_blocks(config, hidden, query, ffn, layers, heads_name="num_heads")
    rotary_positions(visual, blocks[0][0].key_dim)
    patches = square_patches(patch, merge)
    return stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="qwen3_vl_vision"), merge


def _merger(merger: Tensors, normed: int, width: int, out: int) -> None:
    merger.norm("norm", normed, bias=True)
    merger.linear("linear_fc1", width, width, bias=True, part="vision")
    merger.linear("linear_fc2", out, width, bias=True, part="vision")
