"""Kimi K3: a MoonViT tower without biases, four patches merged to a token, and a Kimi Linear with latent experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.kimi_k25 import vision_tower
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec, sized_note

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("kimi_k3",)
NOTE = "transformers 5.23 has no class of this type: names follow its Kimi Linear and Kimi K2.5, what is new in K3 the repository's files"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Kimi K3 config: 2,779,931,754,752 parameters, as published but for the routers' biases."""
    name = checked_name(config, "KimiK3ForConditionalGeneration")
    tensors, vision_config = Tensors(), config.part("vision_config")
    kind = vision_config.optional_text("mm_projector_type")
    if kind != "patchmergerv2":
        raise config.unknown(f"projector of type {str(kind)[:40]!r} is not understood")
    vision, merged = vision_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="kimi_linear", tied=False)
    width = vision.hidden_dim * merged
    projector = tensors.at("model.mm_projector")
    projector.linear("proj.0", width, width, part="projector")
    projector.linear("proj.2", text.stack.hidden_dim, width, part="projector")
    projector.norm("post_norm", text.stack.hidden_dim)
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // merged
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(NOTE, sized_note(tokens))
    )
