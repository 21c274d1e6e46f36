"""Phi-3 and Phi-3.5 Vision: CLIP's largest tower, a two-layer projector, and a Phi-3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures import phi3
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import vision_tower
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.llava import CLIP_L_336, ORIGINAL_TOWER
from fmkit.model.architectures.multimodal import checked_name, multimodal_spec
from fmkit.model.architectures.remote import NOTE

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("phi3_v",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Phi-3 Vision config; 4,146,621,440 parameters, as published."""
    name = checked_name(config, "Phi3VForCausalLM")
    tower_name = config.part("img_processor").optional_text("model_name")
    if tower_name != ORIGINAL_TOWER:
        raise config.unknown(f"image tower {str(tower_name)[:60]!r} is not known; known: {ORIGINAL_TOWER}")
    tensors = Tensors()
    images = tensors.at("model.vision_embed_tokens")
    fixed = ConfigReader(CLIP_L_336, where=config.where, path="img_processor.", nested=True)
    vision = vision_tower(fixed, images.at("img_processor.vision_model", part="vision"))
    text = phi3.text_model(config, tensors.at("model"))
    hidden, width = text.stack.hidden_dim, 4 * vision.hidden_dim
    # Separators of rows and of the overview, then two layers.
    images.parameter("glb_GN", (1, 1, width), part="projector")
    images.parameter("sub_GN", (1, 1, 1, width), part="projector")
    images.linear("img_projection.0", hidden, width, bias=True, part="projector")
    images.linear("img_projection.2", hidden, hidden, bias=True, part="projector")
    head_tensors(tensors, text)
    note = "how many tokens an image takes depends on its shape and the processor's crops: not counted"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=None, notes=(NOTE, note))
