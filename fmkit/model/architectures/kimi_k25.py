"""Kimi K2.5: a MoonViT tower, four patches merged to a token, and a Kimi K2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import (
    checked_name,
    language_model,
    multimodal_spec,
    sized_note,
    square_patches,
    tower_blocks,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("kimi_k25",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Kimi K2.5 config, of the repository's field names or of transformers' (Kimi_K25Config, 5.23)."""
    name = checked_name(config, "KimiK25ForConditionalGeneration", "Kimi_K25ForConditionalGeneration")
    tensors, vision_config = Tensors(), config.part("vision_config")
    vision, merged = vision_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="deepseek_v3", tied=True)
    width = vision.hidden_dim * merged
    projector = tensors.at("model.mm_projector")
    projector.norm("pre_norm", vision.hidden_dim, bias=True)
    projector.linear("in_proj", width, width, bias=True, part="projector")
    projector.linear("out_proj", text.stack.hidden_dim, width, bias=True, part="projector")
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // merged
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(sized_note(tokens),)
    )


def vision_tower(config: ConfigReader, tensors: Tensors) -> tuple[Stack, int]:
    """The tower, and how many patches make a token. Class defaults: Kimi_K25VisionConfig, transformers 5.23.

    K3's tower has no biases, other norms, and heads that are wider together than the tower (`qkv_hidden_size`).
    """
    hidden = config.size("vt_hidden_size", "hidden_size", default=1152)
    layers = config.layers("vt_num_hidden_layers", "num_hidden_layers", class_default=27)
    query = config.size("vt_num_attention_heads", "num_attention_heads", default=16)
    ffn = config.size("vt_intermediate_size", "intermediate_size", default=4304)
    patch = config.size("patch_size", default=14)
    rows = config.size("init_pos_emb_height", "pos_emb_height", default=64)
    columns = config.size("init_pos_emb_width", "pos_emb_width", default=64)
    frames = config.size("init_pos_emb_time", "pos_emb_time", default=4)
    merge = config.sizes("merge_kernel_size", minimum=1) or (2, 2)
    if len(set(merge)) != 1:
        raise config.unknown("merge_kernel_size is not square, which is not understood")
    wide = config.size("qkv_hidden_size", default=hidden)
    bias, rms = config.flag("linear_bias", default=True), config.optional_text("norm_type") == "rmsnorm"
    patch_bias = config.flag("patch_embed_proj_bias", default=True)
    tensors.conv("patch_embed.proj", (hidden, 3, patch, patch), bias=patch_bias, part="vision")
    tensors.parameter("patch_embed.pos_emb.position_embeddings", (rows, columns, hidden), part="vision")
    tensors.buffer("patch_embed.pos_emb.time_position_embeddings", (frames + 1, hidden), dtype="float32")
    layer = tensors.at("layers.*", count=layers)
    layer.norm("norm1", hidden, bias=not rms)
    layer.norm("norm2", hidden, bias=not rms)
    attention_bias = config.flag("attn_bias", default=True)
    layer.linear("attn.proj", hidden, wide, bias=attention_bias, part="vision")
    for name in ("q_proj", "k_proj", "v_proj"):
        layer.linear(f"attn.{name}", wide, hidden, bias=attention_bias, part="vision")
    layer.linear("mlp.fc1", ffn, hidden, bias=bias, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=bias, part="vision")
    tensors.norm("final_layernorm", hidden, bias=not rms)
    blocks = tower_blocks(config, wide, query, ffn, layers, heads_name="num_attention_heads")
    for name in ("inv_freq", "original_inv_freq"):
        tensors.buffer(f"rotary_emb.{name}", (blocks[0][0].key_dim // 4,), dtype="float32")
    patches = square_patches(patch, merge[0])
    return stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="kimi_k25_vision"), merge[0] ** 2
