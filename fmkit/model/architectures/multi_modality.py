"""Janus: one SigLIP tower to see, a vector-quantised decoder to draw, and a Llama between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures import janus_images, timm_siglip
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("multi_modality",)
TOWERS = {
    "siglip_large_patch16_384": {"width": 1024, "layers": 24, "heads": 16, "patch_size": 16, "image_size": 384},
    "siglip_so400m_patch14_384": {
        "width": 1152, "layers": 27, "heads": 16, "mlp_ratio": 3.7362, "patch_size": 14, "image_size": 384,
    },
}  # fmt: skip
"""The towers that configs name and the repository's code describes."""
NOTE = (
    "transformers 5.23 has no class of this type: names follow the repository's code, which keeps a pooling head that "
    "transformers' own Janus class leaves out"
)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Janus config: Janus-1.3B has 2,089,232,011 parameters, those that draw included."""
    name = checked_name(config, "MultiModalityCausalLM")
    tensors = Tensors()
    tower = _tower_config(config)
    vision = timm_siglip.vision_tower(tower, tensors.at("vision_model.vision_tower", part="vision"))
    text = language_model(
        config, tensors.at("language_model.model"), default_type="llama", tied=False, field="language_config"
    )
    hidden = text.stack.hidden_dim
    _aligner(config, "aligner_config", tensors.at("aligner"), hidden)
    _aligner(config, "gen_aligner_config", tensors.at("gen_aligner"), hidden)
    codes, code_dim = janus_images.tensors_of(config, tensors.at("gen_vision_model", part="vision"))
    head = config.part("gen_head_config").part("params")
    width = head.size("image_token_embed")
    tensors.linear("gen_head.output_mlp_projector", width, head.size("n_embed"), bias=True, part="projector")
    tensors.linear("gen_head.vision_head", head.size("image_token_size"), width, bias=True, part="projector")
    tensors.embedding("gen_embed", codes, code_dim, part="projector")
    head_tensors(tensors.at("language_model"), text)
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=vision.fixed_tokens, notes=(NOTE,))


def _tower_config(config: ConfigReader) -> ConfigReader:
    name = config.part("vision_config").part("params").optional_text("model_name")
    if name not in TOWERS:
        raise config.unknown(f"image tower {str(name)[:60]!r} is not known; known: {', '.join(TOWERS)}")
    return ConfigReader(TOWERS[name], where=config.where, path="vision_config.params.", nested=True)


def _aligner(config: ConfigReader, field: str, tensors: Tensors, hidden: int) -> None:
    """Layers of the language model's width, the first from the width of what it reads."""
    params = config.part(field).part("params")
    kind = params.optional_text("projector_type")
    if kind != "mlp_gelu":
        raise config.unknown(f"projector of type {str(kind)[:40]!r} is not understood")
    if params.size("n_embed") != hidden:
        raise params.wrong("n_embed", f"the language model's hidden_size ({hidden})", params.size("n_embed"))
    width = params.size("input_dim")
    for number in range(params.layers("depth", class_default=1)):
        tensors.linear(f"layers.{2 * number}", hidden, width, bias=True, part="projector")
        width = hidden
