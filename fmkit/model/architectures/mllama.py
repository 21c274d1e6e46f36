"""Llama 3.2 Vision: a Llama with layers of their own that look at the image's tokens, kept apart from the text's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import patches
from fmkit.model.architectures.decoder import (
    attention_tensors,
    causal,
    config_dtype,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    stack_of,
    unknown_class,
)
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("mllama",)
EXTRA_TOKENS = 8
"""Rows of the embedding beyond the vocabulary (MllamaTextModel, transformers 5.23)."""
DEFAULT_CROSS_LAYERS = (3, 8, 13, 18, 23, 28, 33, 38)
"""Default of MllamaTextConfig, transformers 5.23."""
DEFAULT_ASPECT_RATIOS = 8
"""Shapes that an image may be cut to: default of MllamaVisionConfig, transformers 5.23."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Llama 3.2 Vision config."""
    name = config.class_name or "MllamaForConditionalGeneration"
    if name != "MllamaForConditionalGeneration":
        raise unknown_class(config, "MllamaForConditionalGeneration")
    tensors = Tensors()
    vision_config = config.part("vision_config")
    text_config = config.part("text_config")
    vision = _vision_tower(vision_config, tensors.at("model.vision_model", part="vision"))
    text = _text_model(text_config, tensors.at("model.language_model"))
    features = vision_config.core("vision_output_dim", class_default=7680)
    tensors.linear("model.multi_modal_projector", text.hidden_dim, features, bias=True, part="projector")
    vocab = text_config.core("vocab_size", class_default=128256)
    tensors.linear("lm_head", vocab, text.hidden_dim, part="head")
    dtype, notes = config_dtype(config)
    tokens = vision.fixed_tokens or 0
    return ModelSpec(
        architecture=name,
        model_type="mllama",
        kind="vision-language",
        stacks=(text, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=vocab,
        max_context_tokens=rope_limit(text_config, class_default=131072),
        context_is_hard=False,
        image_tokens=1,
        embedding_dim=text.hidden_dim,
        notes=(
            *notes,
            f"an image takes 1 token of the context and up to {tokens:,} tokens in each cross-attention layer",
        ),
    )


def _text_model(config: ConfigReader, tensors: Tensors) -> Stack:
    """MllamaTextModel. Class defaults: MllamaTextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=40)
    vocab = config.core("vocab_size", class_default=128256)
    ffn = config.core("intermediate_size", class_default=14336)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    named = config.sizes("cross_attention_layers")
    crossing = {layer for layer in (DEFAULT_CROSS_LAYERS if named is None else named) if layer < layers}
    tensors.embedding("embed_tokens", vocab + EXTRA_TOKENS, hidden)
    attention_tensors(tensors.at("layers.*", count=layers - len(crossing)), hidden, heads)
    cross_layer = tensors.at("layers.*", count=len(crossing))
    attention_tensors(cross_layer, hidden, heads, name="cross_attn")
    cross_layer.norm("cross_attn.q_norm", heads.dim)
    cross_layer.norm("cross_attn.k_norm", heads.dim)
    cross_layer.parameter("cross_attn_attn_gate", (1,), part="attention")
    cross_layer.parameter("cross_attn_mlp_gate", (1,), part="mlp")
    layer = tensors.at("layers.*", count=layers)
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, heads.dim)
    cross = CrossAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    mlp = Mlp(ffn_dim=ffn, gated=True)
    mixers = [cross if index in crossing else causal(heads, None) for index in range(layers)]
    return stack_of("decoder", hidden, [(mixer, mlp) for mixer in mixers], implementation="mllama_text_model")


def _vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """MllamaVisionModel: tiles of an image, local layers, then global ones. Class defaults: MllamaVisionConfig, 5.23."""
    hidden = config.core("hidden_size", class_default=1280)
    patch = config.core("patch_size", class_default=14)
    tiles = config.core("max_num_tiles", class_default=4)
    rows = patches(config, patch, image_default=448) + 1
    ratios = (config.length("supported_aspect_ratios") or DEFAULT_ASPECT_RATIOS) + 1
    query = config.core("attention_heads", "num_attention_heads", class_default=16)
    mlp = Mlp(ffn_dim=config.core("intermediate_size", class_default=5120), gated=False)
    local = config.layers("num_hidden_layers", class_default=32)
    everywhere = config.layers("num_global_layers", class_default=8)
    dim = config.divide("hidden_size", hidden, "attention_heads", query)
    tensors.parameter("class_embedding", (hidden,), part="vision")
    channels = config.size("num_channels", default=3)
    tensors.conv("patch_embedding", (hidden, channels, patch, patch), part="vision")
    positions = tensors.at("gated_positional_embedding")
    positions.parameter("gate", (1,), part="vision")
    positions.parameter("embedding", (rows, hidden), part="vision")
    positions.embedding("tile_embedding", ratios, tiles * rows * hidden)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        tensors.parameter(f"{name}.gate", (1,), part="vision")
        tensors.embedding(f"{name}.embedding", ratios, tiles * hidden)
    tensors.norm("layernorm_pre", hidden, bias=True)
    tensors.norm("layernorm_post", hidden, bias=True)
    _vision_layers(tensors.at("transformer.layers.*", count=local), hidden, mlp.ffn_dim)
    wide = tensors.at("global_transformer.layers.*", count=everywhere)
    wide.parameter("gate_attn", (1,), part="vision")
    wide.parameter("gate_ffn", (1,), part="vision")
    _vision_layers(wide, hidden, mlp.ffn_dim)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    layers = [(attention, mlp)] * (local + everywhere)
    return stack_of("vision", hidden, layers, fixed_tokens=tiles * rows, implementation="mllama_vision_model")


def _vision_layers(layer: Tensors, hidden: int, ffn_dim: int) -> None:
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, part="vision")
    layer.linear("mlp.fc1", ffn_dim, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn_dim, bias=True, part="vision")
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
