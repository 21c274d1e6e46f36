"""PaliGemma: a SigLIP tower, one layer, and a Gemma."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec
from fmkit.model.architectures.siglip import vision_tower

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("paligemma",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a PaliGemma config. Class defaults: PaliGemmaConfig, transformers 5.23."""
    name = checked_name(config, "PaliGemmaForConditionalGeneration")
    tensors = Tensors()
    vision = vision_tower(
        config.part("vision_config"), tensors.at("model.vision_tower", part="vision"), pooling_default=False
    )
    text = language_model(config, tensors.at("model.language_model"), default_type="gemma", tied=True)
    tensors.linear(
        "model.multi_modal_projector.linear",
        config.part("vision_config").size("projection_dim", default=2048),
        vision.hidden_dim,
        bias=True,
        part="projector",
    )
    head_tensors(tensors, text)
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=vision.fixed_tokens)
