"""Idefics 3 and SmolVLM: a SigLIP-like tower, patches shuffled together, one layer, and a Llama."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import patches, tower_layers
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("idefics3", "smolvlm")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an Idefics 3 or SmolVLM config. Class defaults: their configs in transformers 5.23."""
    known = {"smolvlm": "SmolVLMForConditionalGeneration"}.get(
        str(config.model_type), "Idefics3ForConditionalGeneration"
    )
    name = checked_name(config, known)
    tensors = Tensors()
    vision = _vision_tower(config.part("vision_config"), tensors.at("model.vision_model", part="vision"))
    text = language_model(config, tensors.at("model.text_model"), default_type="llama", tied=False)
    scale = config.size("scale_factor", default=2)
    connector = tensors.at("model.connector.modality_projection")
    connector.linear("proj", text.stack.hidden_dim, vision.hidden_dim * scale * scale, part="projector")
    head_tensors(tensors, text)
    tokens = max(1, (vision.fixed_tokens or 0) // (scale * scale))
    note = f"an image is one tile of {tokens} tokens; the processor may cut a large one into more, and adds markers"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(note,))


def _vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Idefics3VisionTransformer. Class defaults: Idefics3VisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1152)
    patch = config.core("patch_size", class_default=32)
    tokens = patches(config, patch, image_default=224)
    channels = config.size("num_channels", default=3)
    tensors.conv("embeddings.patch_embedding", (hidden, channels, patch, patch), bias=True, part="vision")
    tensors.embedding("embeddings.position_embedding", tokens, hidden)
    layers = tower_layers(config, tensors, hidden, layers=12, heads=16, ffn=3072)
    tensors.norm("post_layernorm", hidden, bias=True)
    return stack_of("vision", hidden, layers, fixed_tokens=tokens, implementation="siglip_vision_model")
