"""SigLIP: CLIP without a class token and with attention pooling; its image tower is Gemma 3's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import patches, tower_layers
from fmkit.model.architectures.decoder import config_dtype, stack_of, unknown_class
from fmkit.model.spec import ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("siglip",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a SigLIP config."""
    name = config.class_name or "SiglipModel"
    if name != "SiglipModel":
        raise unknown_class(config, "SiglipModel")
    tensors = Tensors()
    text_config = config.part("text_config")
    text = text_tower(text_config, tensors.at("text_model"))
    vision = vision_tower(config.part("vision_config"), tensors.at("vision_model", part="vision"))
    tensors.parameter("logit_scale", (1,), part="projector")
    tensors.parameter("logit_bias", (1,), part="projector")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="siglip",
        kind="clip",
        stacks=(text, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=_vocab(text_config),
        max_context_tokens=text.max_tokens,
        context_is_hard=True,
        has_head=False,
        logits_to_keep=False,
        positions="learned",
        embedding_dim=vision.hidden_dim,
        notes=notes,
    )


def _vocab(config: ConfigReader) -> int:
    return config.core("vocab_size", class_default=32000)


def text_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """SiglipTextModel. Class defaults: SiglipTextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    positions = config.core("max_position_embeddings", class_default=64)
    tensors.embedding("embeddings.token_embedding", _vocab(config), hidden)
    tensors.embedding("embeddings.position_embedding", positions, hidden)
    tensors.buffer("embeddings.position_ids", (1, positions), dtype="int64")
    layers = tower_layers(config, tensors, hidden, layers=12, heads=12, ffn=3072)
    tensors.norm("final_layer_norm", hidden, bias=True)
    outputs = config.optional_size("projection_size") or hidden
    tensors.linear("head", outputs, hidden, bias=True, part="projector")
    return stack_of("encoder", hidden, layers, max_tokens=positions, implementation="siglip_text_model")


def vision_tower(config: ConfigReader, tensors: Tensors, *, pooling_default: bool = True) -> Stack:
    """SiglipVisionModel: one token per patch. Class defaults: SiglipVisionConfig, transformers 5.23.

    `pooling_default` says whether an outer class pools where the config is silent.
    """
    hidden = config.core("hidden_size", class_default=768)
    patch = config.core("patch_size", class_default=16)
    tokens = patches(config, patch, image_default=224)
    shape = (hidden, config.size("num_channels", default=3), patch, patch)
    tensors.conv("embeddings.patch_embedding", shape, bias=True, part="vision")
    tensors.embedding("embeddings.position_embedding", tokens, hidden)
    tensors.buffer("embeddings.position_ids", (1, tokens), dtype="int64")
    layers = tower_layers(config, tensors, hidden, layers=12, heads=12, ffn=3072)
    tensors.norm("post_layernorm", hidden, bias=True)
    if config.flag("vision_use_head", default=pooling_default):
        _pooling_head(tensors.at("head"), hidden, layers[0][1].ffn_dim)
    return stack_of("vision", hidden, layers, fixed_tokens=tokens, implementation="siglip_vision_model")


def _pooling_head(head: Tensors, hidden: int, ffn_dim: int) -> None:
    """One attention from a learned probe to all patches (torch.nn.MultiheadAttention), then a feed-forward."""
    head.parameter("probe", (1, 1, hidden), part="vision")
    head.parameter("attention.in_proj_weight", (3 * hidden, hidden), part="vision")
    head.parameter("attention.in_proj_bias", (3 * hidden,), part="vision")
    # A subclass of torch.nn.Linear inside MultiheadAttention, which bitsandbytes leaves alone.
    head.linear("attention.out_proj", hidden, hidden, bias=True, part="vision", quantisable=False)
    head.norm("layernorm", hidden, bias=True)
    head.linear("mlp.fc1", ffn_dim, hidden, bias=True, part="vision")
    head.linear("mlp.fc2", hidden, ffn_dim, bias=True, part="vision")
