"""LLaVA-OneVision: a SigLIP tower, a two-layer projector, and a Qwen2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec
from fmkit.model.architectures.siglip import vision_tower

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("llava_onevision",)
LARGEST_CUT = (2304, 2304)
"""The largest of the default image_grid_pinpoints of LlavaOnevisionConfig, transformers 5.23."""

DEFAULT_TILES = 9
"""Tiles beside the overview: the default "anyres_max_9" of LlavaOnevisionConfig, transformers 5.23."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a LLaVA-OneVision config. Class defaults: LlavaOnevisionConfig, transformers 5.23."""
    name = checked_name(config, "LlavaOnevisionForConditionalGeneration")
    vision_config = config.part("vision_config")
    if vision_config.model_type not in (None, "siglip_vision_model"):
        raise config.unknown(f"image tower of type {str(vision_config.model_type)[:60]!r} is not understood")
    tensors = Tensors()
    vision = vision_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    vision = msgspec.structs.replace(vision, tiles=_tiles(vision_config, config))
    text = language_model(config, tensors.at("model.language_model"), default_type="qwen2", tied=False)
    hidden = text.stack.hidden_dim
    tensors.parameter("model.image_newline", (hidden,), part="projector")
    bias = config.flag("multimodal_projector_bias", default=True)
    projector = tensors.at("model.multi_modal_projector")
    layers = config.length("vision_feature_layer") if config.is_list("vision_feature_layer") else 1
    projector.linear("linear_1", hidden, vision.hidden_dim * (layers or 1), bias=bias, part="projector")
    projector.linear("linear_2", hidden, hidden, bias=bias, part="projector")
    head_tensors(tensors, text)
    return multimodal_spec(
        config,
        tensors,
        text,
        (vision,),
        name=name,
        image_tokens=_image_tokens(config, vision),
        notes=("an image takes fewer tokens where its shape needs fewer tiles",),
    )


def _tiles(vision_config: ConfigReader, config: ConfigReader) -> int:
    """Tiles of the largest cut, and the overview: all of them pass through the tower before they are scaled down to `anyres_max_N`.

    36 + 1 for 2304 x 2304 at 384. Source: transformers 5.23 image_processing_llava_onevision.py, modeling_llava_onevision.py.
    """
    size = vision_config.size("image_size", default=224)
    cuts = config.pairs("image_grid_pinpoints") or (LARGEST_CUT,)
    return 1 + max((height // size) * (width // size) for height, width in cuts)


def _image_tokens(config: ConfigReader, vision: Stack) -> int:
    """Tokens of the largest cut: the overview, and at most `anyres_max_N` tiles with one newline a row.

    729 + 9 x 729 + 81 = 7371 for a tower of 27 x 27 patches (arXiv:2408.03326).
    """
    stated = (config.optional_text("vision_aspect_ratio") or "").removeprefix("anyres_max_")
    tiles = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 4 else DEFAULT_TILES
    patches = vision.fixed_tokens or 0
    rows = int((patches * tiles) ** 0.5)
    return patches * (1 + tiles) + rows
