"""LFM2-VL: a SigLIP 2 tower, patches shuffled together, a two-layer projector, and an LFM2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import tower_layers
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("lfm2_vl",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an LFM2-VL config. Class defaults: Lfm2VlConfig, transformers 5.23."""
    name = checked_name(config, "Lfm2VlForConditionalGeneration")
    vision_config = config.part("vision_config")
    if vision_config.model_type not in (None, "siglip2_vision_model"):
        raise config.unknown(f"image tower of type {str(vision_config.model_type)[:60]!r} is not understood")
    tensors, factor = Tensors(), config.size("downsample_factor", default=2)
    vision = siglip2_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="lfm2", tied=True)
    width, inner = vision.hidden_dim * factor * factor, config.size("projector_hidden_size", default=2560)
    bias = config.flag("projector_bias", default=True)
    projector = tensors.at("model.multi_modal_projector")
    if config.flag("projector_use_layernorm", default=True):
        projector.norm("layer_norm", width, bias=True)
    projector.linear("linear_1", inner, width, bias=bias, part="projector")
    projector.linear("linear_2", text.stack.hidden_dim, inner, bias=bias, part="projector")
    head_tensors(tensors, text)
    tokens = config.size("max_image_tokens", default=256)
    note = f"an image is one tile of at most {tokens} tokens; the processor cuts a large one into more"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(note,))


def siglip2_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Siglip2VisionModel: a linear patch embedding, positions resized. Class defaults: Siglip2VisionConfig, 5.23."""
    if config.flag("vision_use_head", default=False):
        raise config.unknown("a SigLIP 2 tower with a pooling head (vision_use_head) is not understood here")
    hidden = config.core("hidden_size", class_default=768)
    patch = config.core("patch_size", class_default=16)
    tokens = config.size("num_patches", default=256)
    pixels = config.size("num_channels", default=3) * patch * patch
    tensors.linear("embeddings.patch_embedding", hidden, pixels, bias=True, part="vision")
    tensors.embedding("embeddings.position_embedding", tokens, hidden)
    layers = tower_layers(config, tensors, hidden, layers=12, heads=12, ffn=3072)
    tensors.norm("post_layernorm", hidden, bias=True)
    return stack_of("vision", hidden, layers, fixed_tokens=4 * tokens, implementation="siglip_vision_model")
