"""InternVL 3 in transformers' form: an image tower with layer scales, a two-layer projector, and a Qwen2 or other decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec, side_of, tower_blocks

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("internvl",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an InternVL config. Class defaults: InternVLConfig, transformers 5.23."""
    name = checked_name(config, "InternVLForConditionalGeneration")
    tensors = Tensors()
    vision = _vision_tower(config.part("vision_config"), tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="qwen2", tied=True)
    ratio = config.number("downsample_ratio", 0.5)
    width, hidden = vision.hidden_dim * int(1 / ratio) ** 2, text.stack.hidden_dim
    if not width:
        raise config.wrong("downsample_ratio", "a number up to 1", ratio)
    projector = tensors.at("model.multi_modal_projector")
    projector.norm("layer_norm", width, bias=True)
    projector.linear("linear_1", hidden, width, bias=True, part="projector")
    projector.linear("linear_2", hidden, hidden, bias=True, part="projector")
    head_tensors(tensors, text)
    tokens = config.size("image_seq_length", default=256)
    note = f"an image is one tile of {tokens} tokens; the processor may cut a large one into more"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(note,))


def _vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """InternVLVisionModel. Class defaults: InternVLVisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1024)
    layers = config.layers("num_hidden_layers", class_default=24)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=4096)
    patch, side = side_of(config, "patch_size", default=14), side_of(config, "image_size", default=448)
    tokens = (side // patch) ** 2 + 1
    embeddings = tensors.at("embeddings")
    embeddings.parameter("cls_token", (1, 1, hidden), part="vision")
    if config.flag("use_mask_token", default=False):
        embeddings.parameter("mask_token", (1, 1, hidden), part="vision")
    if config.flag("use_absolute_position_embeddings", default=True):
        embeddings.parameter("position_embeddings", (1, tokens, hidden), part="vision")
    shape = (hidden, config.size("num_channels", default=3), patch, patch)
    embeddings.conv("patch_embeddings.projection", shape, bias=True, part="vision")
    layer = tensors.at("encoder.layer.*", count=layers)
    for name in ("lambda_1", "lambda_2"):
        layer.parameter(name, (hidden,), part="vision")
    bias, rms = config.flag("attention_bias", default=False), config.optional_text("norm_type") == "rms_norm"
    for name in ("q_proj", "k_proj", "v_proj"):
        layer.linear(f"attention.{name}", hidden, hidden, bias=bias, part="vision")
    if config.flag("use_qk_norm", default=False):
        layer.norm("attention.q_norm", hidden)
        layer.norm("attention.k_norm", hidden)
    layer.linear("attention.projection_layer", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")
    layer.norm("layernorm_before", hidden, bias=not rms)
    layer.norm("layernorm_after", hidden, bias=not rms)
    if not config.flag("use_mean_pooling", default=True):
        tensors.norm("layernorm", hidden, bias=True)
    blocks = tower_blocks(config, hidden, query, ffn, layers, heads_name="num_attention_heads")
    return stack_of("vision", hidden, blocks, fixed_tokens=tokens, implementation="internvl_vision")
