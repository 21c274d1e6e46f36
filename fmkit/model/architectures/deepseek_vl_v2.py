"""DeepSeek-VL2: tiles through a SigLIP tower, four patches to a token, and a DeepSeek-MoE or DeepSeek-V2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import timm_siglip
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec
from fmkit.model.architectures.remote import NOTE
from fmkit.units import ceil_div

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("deepseek_vl_v2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeepSeek-VL2 config; 3,370,501,440 parameters for deepseek-vl2-tiny, as published."""
    name = checked_name(config, "DeepseekVLV2ForCausalLM")
    tensors = Tensors()
    vision = timm_siglip.vision_tower(config.part("vision_config"), tensors.at("vision", part="vision"))
    text = language_model(
        config, tensors.at("language.model"), default_type="deepseek_v2", tied=False, field="language_config"
    )
    projector_config = config.part("projector_config")
    ratio = _projector(projector_config, tensors.at("projector.layers"), vision.hidden_dim, text.stack.hidden_dim)
    _separators(config, tensors, projector_config.size("n_embed", default=2048))
    head_tensors(tensors.at("language"), text)
    tokens, tiles, note = _image_tokens(config, vision.fixed_tokens or 0, ratio)
    vision = msgspec.structs.replace(vision, tiles=tiles)
    notes = (note,) if NOTE in text.notes else (NOTE, note)
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=notes)


def _projector(config: ConfigReader, layers: Tensors, vision_dim: int, text_dim: int) -> int:
    """The projector's layers, and how many patches of a side make one token. Class defaults: MlpProjectorConfig."""
    kind = config.optional_text("projector_type") or "downsample_mlp_gelu"
    if kind != "downsample_mlp_gelu" or config.size("depth", default=2) != 2:
        raise config.unknown(f"projector of type {kind[:40]!r} or of another depth than 2 is not understood")
    width = config.size("n_embed", default=2048)
    if width != text_dim:
        raise config.wrong("n_embed", f"the language model's hidden_size ({text_dim})", width)
    ratio, inner = config.size("downsample_ratio", default=2), width * config.size("mlp_ratio", default=1)
    layers.linear("0", inner, vision_dim * ratio * ratio, bias=True, part="projector")
    layers.linear("2", width, inner, bias=True, part="projector")
    return ratio


def _separators(config: ConfigReader, tensors: Tensors, width: int) -> None:
    """The learned tokens at the ends of rows and of tiles; the misspelling is the repository's."""
    if config.optional_text("tile_tag") != "2D":
        raise config.unknown("tile_tag is not 2D, which is not understood")
    tensors.parameter("image_newline", (width,), part="projector")
    tensors.parameter("view_seperator", (width,), part="projector")


def _image_tokens(config: ConfigReader, patches: int, ratio: int) -> tuple[int, int, str]:
    """Tokens and tiles at the largest cut: an overview and n x m tiles of s x s tokens, one more at the end of each row, and one between.

    s = ceil(27 / 2) = 14 for deepseek-vl2-tiny, whose largest cut is 9 x 1: 14 x 15 + 1 + 126 x 15 = 2,101.
    """
    side = ceil_div(round(patches**0.5), ratio)
    image = config.part("vision_config").size("image_size", default=384)
    cuts = config.pairs("candidate_resolutions") or ((image, image),)
    tiles = [(max(1, height // image), max(1, width // image)) for height, width in cuts]
    largest = max(rows * side * (columns * side + 1) for rows, columns in tiles)
    most = max(rows * columns for rows, columns in tiles)
    return side * (side + 1) + 1 + largest, 1 + most, "an image takes fewer tokens where its shape needs fewer tiles"
