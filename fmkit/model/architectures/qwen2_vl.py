"""Qwen2-VL and Qwen2.5-VL: images at their own size, four patches merged to a token, and a Qwen2.

The language model's fields stand at the top level of published configs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import qwen2
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import gated_mlp_tensors, head_tensors, stack_of
from fmkit.model.architectures.multimodal import (
    checked_name,
    multimodal_spec,
    sized_note,
    square_patches,
    tower_blocks,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Qwen2-VL or Qwen2.5-VL config."""
    second = config.model_type == "qwen2_vl"
    name = checked_name(config, "Qwen2VLForConditionalGeneration" if second else "Qwen2_5_VLForConditionalGeneration")
    tensors = Tensors()
    visual = tensors.at("model.visual", part="vision")
    build = _vision_tower if second else _gated_vision_tower
    vision, merge = build(config.part("vision_config"), visual)
    text_config = config.child("text_config") or config
    text = qwen2.text_model(text_config, tensors.at("model.language_model"))
    text = _renamed(text, config)
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // (merge * merge)
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(sized_note(tokens),)
    )


def _renamed(text: TextModel, config: ConfigReader) -> TextModel:
    ties = text.tied or config.flag("tie_word_embeddings", default=False)
    return replace(text, stack=msgspec.structs.replace(text.stack, implementation="qwen2"), tied=ties)


def _patch_embedding(config: ConfigReader, visual: Tensors, hidden: int) -> int:
    """A convolution over frames and pixels; the side of a patch."""
    patch, channels = config.size("patch_size", default=14), config.size("in_channels", "in_chans", default=3)
    shape = (hidden, channels, config.size("temporal_patch_size", default=2), patch, patch)
    visual.parameter("patch_embed.proj.weight", shape, part="vision")
    return patch


def _merger(visual: Tensors, width: int, out: int) -> None:
    visual.linear("merger.mlp.*", width, width, bias=True, part="vision")
    visual.linear("merger.mlp.*", out, width, bias=True, part="vision")


def rotary_positions(visual: Tensors, head_dim: int) -> None:
    """The frequency tables of a tower whose heads are rotated by row and by column."""
    for name in ("inv_freq", "original_inv_freq"):
        visual.buffer(f"rotary_pos_emb.{name}", (head_dim // 4,), dtype="float32")


def _vision_tower(config: ConfigReader, visual: Tensors) -> tuple[Stack, int]:
    """Qwen2VisionTransformer, and patches merged per side. Class defaults: Qwen2VLVisionConfig, transformers 5.23."""
    hidden, out = config.size("embed_dim", default=1280), config.size("hidden_size", default=3584)
    layers, query = config.layers("depth", class_default=32), config.size("num_heads", default=16)
    ffn = int(hidden * config.number("mlp_ratio", 4))
    merge = config.size("spatial_merge_size", default=2)
    patch = _patch_embedding(config, visual, hidden)
    layer = visual.at("blocks.*", count=layers)
    layer.norm("norm1", hidden, bias=True)
    layer.norm("norm2", hidden, bias=True)
    layer.linear("attn.qkv", 3 * hidden, hidden, bias=True, part="vision")
    layer.linear("attn.proj", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.fc1", max(1, ffn), hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, max(1, ffn), bias=True, part="vision")
    visual.norm("merger.ln_q", hidden, bias=True)
    _merger(visual, hidden * merge * merge, out)
    blocks = tower_blocks(config, hidden, query, max(1, ffn), layers, heads_name="num_heads")
    rotary_positions(visual, blocks[0][0].key_dim)
    patches = square_patches(patch, merge)
    return stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="qwen2_vl_vision"), merge


def _gated_vision_tower(config: ConfigReader, visual: Tensors) -> tuple[Stack, int]:
    """Qwen2_5_VisionTransformer: RMS norms, gated. Class defaults: Qwen2_5_VLVisionConfig, transformers 5.23."""
    hidden, out = config.size("hidden_size", default=3584), config.size("out_hidden_size", default=3584)
    layers, query = config.layers("depth", class_default=32), config.size("num_heads", default=16)
    ffn, merge = config.size("intermediate_size", default=3420), config.size("spatial_merge_size", default=2)
    patch = _patch_embedding(config, visual, hidden)
    layer = visual.at("blocks.*", count=layers)
    layer.norm("norm1", hidden)
    layer.norm("norm2", hidden)
    layer.linear("attn.qkv", 3 * hidden, hidden, bias=True, part="vision")
    layer.linear("attn.proj", hidden, hidden, bias=True, part="vision")
    gated_mlp_tensors(layer, hidden, ffn, bias=True)
    visual.norm("merger.ln_q", hidden)
    _merger(visual, hidden * merge * merge, out)
    blocks = tower_blocks(config, hidden, query, ffn, layers, gated=True, heads_name="num_heads")
    rotary_positions(visual, blocks[0][0].key_dim)
    patches = square_patches(patch, merge)
    return stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="qwen2_5_vl_vision"), merge
