"""Molmo 2: a SigLIP-like tower tapped at two depths, attention that pools its patches, and a decoder of Qwen3's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    gated_mlp_tensors,
    head_tensors,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.multimodal import checked_name, multimodal_spec, tower_blocks
from fmkit.model.architectures.variant import Defaults, Variant, read_shape, variant_attention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("molmo2",)
DEFAULTS = Defaults(hidden=4096, layers=36, vocab=151936, ffn=12288, heads=32, kv_heads=8, head_dim=128, context=36864)
POOLED_PATCHES = 4
"""Patches pooled into one token of an image: 2 x 2 (Molmo2ImageProcessor, transformers 5.23)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Molmo 2 config."""
    name = checked_name(config, "Molmo2ForConditionalGeneration")
    tensors = Tensors()
    vision = _vision_tower(config.part("vision_config"), tensors.at("model.vision_tower", part="vision"))
    text = _text_model(config.part("text_config"), tensors.at("model.language_model"))
    _adapter(config.part("adapter_config"), tensors.at("model.multi_modal_projector"), vision.hidden_dim)
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // POOLED_PATCHES
    note = f"an image is one crop of about {tokens} tokens; the processor may cut a large one into more"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(note,))


def _text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Molmo2TextModel: more rows in the embedding than in the head. Class defaults: Molmo2TextConfig, transformers 5.23."""
    if config.flag("norm_after", default=False) or (config.optional_text("qk_norm_type") or "qwen3") != "qwen3":
        raise config.unknown("norms after each half (norm_after) or of another qk_norm_type are not understood")
    shape = read_shape(config, DEFAULTS)
    ffn = config.core("intermediate_size", class_default=DEFAULTS.ffn)
    extra = config.size("additional_vocab_size", default=128, minimum=0)
    tensors.embedding("embed_tokens", shape.vocab + extra, shape.hidden)
    layer = tensors.at("layers.*", count=shape.layers)
    bias = config.flag("attention_bias", default=False)
    variant_attention(layer, shape, Variant(defaults=DEFAULTS, qk_norm="head", qkv_bias=bias))
    gated_mlp_tensors(layer, shape.hidden, ffn)
    layer.norm("input_layernorm", shape.hidden)
    layer.norm("post_attention_layernorm", shape.hidden)
    tensors.norm("norm", shape.hidden)
    rotated = rotary_dims(config, shape.heads.dim)
    rotary_buffers(tensors, rotated)
    for name in ("inv_freq", "original_inv_freq"):
        tensors.buffer(f"rotary_emb_unscaled.{name}", (rotated // 2,), dtype="float32")
    blocks = [(causal(shape.heads, None), Mlp(ffn_dim=ffn, gated=True))] * shape.layers
    return TextModel(
        stack=stack_of("decoder", shape.hidden, blocks, implementation="molmo2_text"),
        vocab_size=shape.vocab,
        max_context_tokens=rope_limit(config, class_default=DEFAULTS.context),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Molmo2VisionModel. Class defaults: Molmo2VisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1152)
    layers = config.layers("num_hidden_layers", class_default=25)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=4304)
    patch = config.core("patch_size", class_default=14)
    image = config.sizes("image_size", minimum=1) or (378, 378)
    tokens = config.optional_size("num_position_embeddings") or max(1, (image[0] // patch) * (image[-1] // patch))
    tensors.parameter("positional_embedding", (tokens, hidden), part="vision")
    pixels = config.size("num_channels", default=3) * patch * patch
    tensors.linear("patch_embedding", hidden, pixels, bias=True, part="vision")
    layer, bias = tensors.at("layers.*", count=layers), config.flag("attention_bias", default=True)
    layer.norm("layer_norm1", hidden, bias=True)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=bias, part="vision")
    layer.norm("layer_norm2", hidden, bias=True)
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")
    blocks = tower_blocks(config, hidden, query, ffn, layers, heads_name="num_attention_heads")
    return stack_of("vision", hidden, blocks, fixed_tokens=tokens, implementation="molmo2_vision")


def _adapter(config: ConfigReader, projector: Tensors, vision_dim: int) -> None:
    """Attention that pools patches, and a gated projection. Class defaults: Molmo2AdapterConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1152)
    width = config.size("num_attention_heads", default=16) * config.size("head_dim", default=72)
    keys = config.size("num_key_value_heads", default=16) * config.size("head_dim", default=72)
    inputs = vision_dim * (config.length("vision_feature_layer") or 2)
    bias = config.flag("attention_bias", default=True)
    pooling = projector.at("image_pooling_2d")
    for name, outputs in (("q_proj", width), ("k_proj", keys), ("v_proj", keys)):
        pooling.linear(name, outputs, inputs, bias=bias, part="projector")
    pooling.linear("o_proj", hidden, width, bias=bias, part="projector")
    inner, text_dim = (
        config.core("intermediate_size", class_default=18944),
        config.core("text_hidden_size", class_default=3584),
    )
    gate = projector.at("image_projector")
    mlp_bias = config.flag("mlp_bias", default=False)
    gate.linear("gate_proj", inner, hidden, bias=mlp_bias, part="projector")
    gate.linear("up_proj", inner, hidden, bias=mlp_bias, part="projector")
    gate.linear("down_proj", text_dim, inner, bias=mlp_bias, part="projector")
