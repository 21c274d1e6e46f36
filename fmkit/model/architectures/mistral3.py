"""Mistral 3 with images (Mistral Small 3.1, Ministral 3, Devstral Small 2): a Pixtral tower and a patch merger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import gated_mlp_tensors, head_tensors, stack_of
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

MODEL_TYPES = ("mistral3",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Mistral 3 config with images. Class defaults: Mistral3Config, transformers 5.23."""
    name = checked_name(config, "Mistral3ForConditionalGeneration")
    tensors, merge = Tensors(), config.size("spatial_merge_size", default=2)
    vision = pixtral_tower(config.part("vision_config"), tensors.at("model.vision_tower", part="vision"), merge)
    text = language_model(config, tensors.at("model.language_model"), default_type="mistral", tied=True)
    projector = tensors.at("model.multi_modal_projector")
    bias = config.flag("multimodal_projector_bias", default=False)
    width, hidden = vision.hidden_dim, text.stack.hidden_dim
    projector.norm("norm", width)
    projector.linear("patch_merger.merging_layer", width, width * merge * merge, part="projector")
    projector.linear("linear_1", hidden, width, bias=bias, part="projector")
    projector.linear("linear_2", hidden, hidden, bias=bias, part="projector")
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // (merge * merge)
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(sized_note(tokens),)
    )


def pixtral_tower(config: ConfigReader, tensors: Tensors, merge: int) -> Stack:
    """PixtralVisionModel: a Llama over patches, without biases. Class defaults: PixtralVisionConfig, transformers 5.23."""
    if config.model_type not in (None, "pixtral"):
        raise config.unknown(f"image tower of type {str(config.model_type)[:60]!r} is not understood; known: pixtral")
    hidden = config.core("hidden_size", class_default=1024)
    layers = config.layers("num_hidden_layers", class_default=24)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=4096)
    patch = config.core("patch_size", class_default=16)
    tensors.conv("patch_conv", (hidden, config.size("num_channels", default=3), patch, patch), part="vision")
    tensors.norm("ln_pre", hidden)
    layer = tensors.at("transformer.layers.*", count=layers)
    layer.norm("attention_norm", hidden)
    gated_mlp_tensors(layer, hidden, ffn, name="feed_forward")
    for name in ("k_proj", "v_proj", "q_proj", "o_proj"):
        layer.linear(f"attention.{name}", hidden, hidden, part="vision")
    layer.norm("ffn_norm", hidden)
    blocks = tower_blocks(config, hidden, query, ffn, layers, gated=True, heads_name="num_attention_heads")
    dim = config.optional_size("head_dim") or blocks[0][0].key_dim
    positions = tensors.at("patch_positional_embedding")
    for name in ("inv_freq", "original_inv_freq"):
        positions.buffer(name, (dim // 2,), dtype="float32")
    return stack_of("vision", hidden, blocks, fixed_tokens=square_patches(patch, merge), implementation="pixtral")
