"""LLaVA 1.5 and LLaVA-NeXT: a CLIP, SigLIP or Pixtral tower, a two-layer projector, and a decoder of a lineage of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

import fmkit.model.architectures
from fmkit.model.architectures import clip, mistral3, siglip
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import config_dtype, head_tensors, unknown_class
from fmkit.model.architectures.multimodal import sized_note
from fmkit.model.spec import ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.decoder import TextModel
    from fmkit.model.spec import Stack

MODEL_TYPES = ("llava", "llava_llama", "llava_next")
SIGLIP, PIXTRAL = "siglip_vision_model", "pixtral"
TOWERS = ("clip_vision_model", SIGLIP, PIXTRAL)
"""The towers that are understood, by their model type."""
CLIP_L_336 = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "patch_size": 14, "image_size": 336,
}  # fmt: skip
"""The tower that the original repositories name: openai/clip-vit-large-patch14-336, which is also LlavaConfig's default."""
ORIGINAL_TOWER = "openai/clip-vit-large-patch14-336"
DEFAULT_GRIDS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""Sizes that LLaVA-NeXT cuts an image to: default of LlavaNextConfig, transformers 5.23."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a LLaVA config, of transformers' form or of the original repository's."""
    original = config.has("mm_vision_tower") and not config.has("text_config")
    name = config.class_name or "LlavaForConditionalGeneration"
    if not name.endswith(("ForConditionalGeneration", "LlavaLlamaForCausalLM")):
        raise unknown_class(config, "LlavaForConditionalGeneration, LlavaNextForConditionalGeneration")
    vision_config = _vision_config(config, original=original)
    tensors = Tensors()
    vision = _tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = _text_model(config, tensors.at("model.language_model"), original=original)
    text = replace(text, tied=text.tied or config.flag("tie_word_embeddings", default=False))
    _projector(config, tensors.at("model.multi_modal_projector"), vision.hidden_dim, text.stack.hidden_dim)
    if config.model_type == "llava_next":
        tensors.parameter("model.image_newline", (text.stack.hidden_dim,), part="projector")
    head_tensors(tensors, text)
    dtype, notes = config_dtype(config)
    image_tokens, tiles, image_notes = _image_tokens(config, vision_config, vision)
    vision = msgspec.structs.replace(vision, tiles=tiles)
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="vision-language",
        stacks=(text.stack, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=text.context_is_hard,
        tied_head=text.tied,
        positions=text.positions,
        image_tokens=image_tokens,
        embedding_dim=text.stack.hidden_dim,
        notes=(*notes, *text.notes, *image_notes, *_original_notes(original=original)),
    )


def _vision_config(config: ConfigReader, *, original: bool) -> ConfigReader:
    """The tower's fields; the original repository names the tower only, and one tower is known by its name."""
    tower = config.optional_text("mm_vision_tower")
    if original and tower != ORIGINAL_TOWER:
        raise config.unknown(f"image tower {str(tower)[:60]!r} is not known; known: {ORIGINAL_TOWER}")
    if original:
        return ConfigReader(CLIP_L_336, where=config.where, path="vision_config.", nested=True)
    child = config.part("vision_config")
    if child.model_type not in (None, *TOWERS):
        raise config.unknown(
            f"image tower of type {str(child.model_type)[:60]!r} is not understood; known: {', '.join(TOWERS)}"
        )
    return child


def _tower(vision_config: ConfigReader, tensors: Tensors) -> Stack:
    if vision_config.model_type == SIGLIP:
        return siglip.vision_tower(vision_config, tensors)
    if vision_config.model_type == PIXTRAL:
        return mistral3.pixtral_tower(vision_config, tensors, 1)
    return clip.vision_tower(vision_config, tensors)


def _text_model(config: ConfigReader, tensors: Tensors, *, original: bool) -> TextModel:
    text_config = config if original else config.part("text_config")
    kind = "llama" if original else text_config.model_type or "llama"
    module = fmkit.model.architectures.lineage_of(kind)
    build = getattr(module, "text_model", None)
    if build is None:
        raise config.unknown(f"text model of type {kind[:60]!r} is not understood")
    text: TextModel = build(text_config, tensors)
    return replace(text, stack=msgspec.structs.replace(text.stack, implementation=kind))


def _projector(config: ConfigReader, projector: Tensors, vision_dim: int, text_dim: int) -> None:
    """Two biased layers, from the features of one vision layer or of several side by side."""
    layers = config.length("vision_feature_layer") if config.is_list("vision_feature_layer") else 1
    bias = config.flag("multimodal_projector_bias", default=True)
    projector.linear("linear_1", text_dim, vision_dim * (layers or 1), bias=bias, part="projector")
    projector.linear("linear_2", text_dim, text_dim, bias=bias, part="projector")


def _image_tokens(config: ConfigReader, vision_config: ConfigReader, vision: Stack) -> tuple[int, int, tuple[str, ...]]:
    """Tokens of one image, the tiles it becomes, and a note: a token per patch; for LLaVA-NeXT also those of the tiles, at the largest cut.

    LLaVA-1.5: (336 / 14)^2 = 576. LLaVA-NeXT: 576 for the overview, and for a cut of n x m tiles 24n x 24m patches
    with one newline a row: 576 + 2304 + 48 = 2928 at 672 x 672 (arXiv:2310.03744, LLaVA-NeXT blog).
    """
    full = config.optional_text("vision_feature_select_strategy") == "full"
    tokens = vision.fixed_tokens or 0
    if vision_config.model_type == PIXTRAL:
        return tokens, 1, (sized_note(tokens),)
    if vision_config.model_type != SIGLIP and not full:
        tokens -= 1
    if config.model_type != "llava_next":
        return tokens, 1, ()
    size = vision_config.core("image_size", class_default=224)
    side = size // vision_config.core("patch_size", class_default=32)
    cuts = config.pairs("image_grid_pinpoints") or DEFAULT_GRIDS
    rows = [(height // size * side, width // size * side) for height, width in cuts]
    largest = max((high * wide + high for high, wide in rows), default=0)
    tiles = max((high * wide // side**2 for high, wide in rows), default=0)
    return tokens + largest, 1 + tiles, ("an image takes fewer tokens where its shape needs fewer tiles",)


def _original_notes(*, original: bool) -> tuple[str, ...]:
    if not original:
        return ()
    return (f"counted as LlavaForConditionalGeneration with {ORIGINAL_TOWER} (the repository needs code of its own)",)
