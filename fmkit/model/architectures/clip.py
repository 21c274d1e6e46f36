"""CLIP: a text tower of 77 tokens and an image tower; also the image tower alone, and as LLaVA's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import config_dtype, stack_of, unknown_class
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("clip", "clip_vision_model")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a CLIP config: both towers, or the image tower with its projection."""
    vision_only = config.model_type == "clip_vision_model"
    name = config.class_name or ("CLIPVisionModelWithProjection" if vision_only else "CLIPModel")
    if name not in ("CLIPModel", "CLIPVisionModelWithProjection"):
        raise unknown_class(config, "CLIPModel, CLIPVisionModelWithProjection")
    tensors = Tensors()
    vision_config = config if vision_only else _tower_config(config, "vision_config")
    vision = vision_tower(vision_config, tensors.at("vision_model", part="vision"))
    dim = config.size("projection_dim", default=512)
    text = None
    last = name == "CLIPVisionModelWithProjection"
    # bitsandbytes leaves a model's last module alone: the text projection, or the visual one where there is no text.
    tensors.linear("visual_projection", dim, vision.hidden_dim, part="projector", quantisable=not last)
    if not last:
        text_config = _tower_config(config, "text_config")
        text = text_tower(text_config, tensors.at("text_model"))
        tensors.linear("text_projection", dim, text.hidden_dim, part="projector", quantisable=False)
        tensors.parameter("logit_scale", (), part="projector")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="clip",
        stacks=(vision,) if text is None else (text, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=None if text is None else _vocab(_tower_config(config, "text_config")),
        max_context_tokens=None if text is None else text.max_tokens,
        context_is_hard=text is not None,
        has_head=False,
        logits_to_keep=False,
        positions="learned",
        embedding_dim=dim,
        notes=notes,
    )


def _tower_config(config: ConfigReader, name: str) -> ConfigReader:
    """A tower's fields; old configs repeat them, complete, in `..._config_dict`, which then counts."""
    return config.child(f"{name}_dict") or config.part(name)


def _vocab(config: ConfigReader) -> int:
    return config.core("vocab_size", class_default=49408)


def text_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """CLIPTextModel. Class defaults: CLIPTextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=512)
    positions = config.core("max_position_embeddings", class_default=77)
    tensors.embedding("embeddings.token_embedding", _vocab(config), hidden)
    tensors.embedding("embeddings.position_embedding", positions, hidden)
    tensors.buffer("embeddings.position_ids", (1, positions), dtype="int64")
    layers = tower_layers(config, tensors, hidden, layers=12, heads=8, ffn=2048)
    tensors.norm("final_layer_norm", hidden, bias=True)
    return stack_of("encoder", hidden, layers, max_tokens=positions, implementation="clip_text_model")


def vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """CLIPVisionModel: one token per patch and one for the class. Class defaults: CLIPVisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    patch = config.core("patch_size", class_default=32)
    tokens = patches(config, patch, image_default=224) + 1
    embeddings = tensors.at("embeddings")
    embeddings.parameter("class_embedding", (hidden,), part="vision")
    shape = (hidden, config.size("num_channels", default=3), patch, patch)
    embeddings.conv("patch_embedding", shape, part="vision")
    embeddings.embedding("position_embedding", tokens, hidden)
    embeddings.buffer("position_ids", (1, tokens), dtype="int64")
    tensors.norm("pre_layrnorm", hidden, bias=True)
    layers = tower_layers(config, tensors, hidden, layers=12, heads=12, ffn=3072)
    tensors.norm("post_layernorm", hidden, bias=True)
    return stack_of("vision", hidden, layers, fixed_tokens=tokens, implementation="clip_vision_model")


def tower_layers(
    config: ConfigReader, tensors: Tensors, hidden: int, *, layers: int, heads: int, ffn: int
) -> list[tuple[EncoderAttention, Mlp]]:
    """The layers that CLIP's and SigLIP's towers are made of; the keyword arguments are the class defaults."""
    count = config.layers("num_hidden_layers", class_default=layers)
    query = config.core("num_attention_heads", class_default=heads)
    ffn_dim = config.core("intermediate_size", class_default=ffn)
    dim = config.divide("hidden_size", hidden, "num_attention_heads", query)
    layer = tensors.at("encoder.layers.*", count=count)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=True, part="attention")
    layer.norm("layer_norm1", hidden, bias=True)
    layer.linear("mlp.fc1", ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("mlp.fc2", hidden, ffn_dim, bias=True, part="mlp")
    layer.norm("layer_norm2", hidden, bias=True)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    return [(attention, Mlp(ffn_dim=ffn_dim, gated=False))] * count


def patches(config: ConfigReader, patch: int, *, image_default: int) -> int:
    """Patches of a square image."""
    side = config.core("image_size", class_default=image_default) // patch
    if side == 0:
        raise config.wrong("patch_size", "at most image_size", patch)
    return side * side
