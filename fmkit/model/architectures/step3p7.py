"""Step 3.7: gated attention, experts after the first layers, an image tower with layer scales.

The repository's config keeps the language model's fields at the top level, where transformers 5.23 does not look: it
counts its class with Step3p7TextConfig's defaults. So does this reader, and says where the config differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.config import ConfigReader
from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    expert_tensors,
    gated_mlp_tensors,
    head_tensors,
    rope_limit,
    rotary_dims,
    stack_of,
    windows_of,
)
from fmkit.model.architectures.multimodal import checked_name, multimodal_spec, tower_blocks
from fmkit.model.architectures.variant import Defaults, Variant, read_shape, rotary_by_kind, variant_attention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("step3p7",)
DEFAULTS = Defaults(hidden=4096, layers=45, vocab=128815, ffn=11264, heads=64, kv_heads=8, head_dim=128, context=128000)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Step 3.7 config. Class defaults: Step3p7Config, transformers 5.23."""
    name = checked_name(config, "Step3p7ForConditionalGeneration", "Step3p7FlashForCausalLM")
    tensors = Tensors()
    empty = ConfigReader({}, where=config.where, path="vision_config.", nested=True)
    vision = _vision_tower(config.child("vision_config") or empty, tensors.at("model.vision_model", part="vision"))
    inner = config.child("text_config")
    text_config = inner or ConfigReader({}, where=config.where, path="text_config.", nested=True)
    text = _text_model(text_config, tensors.at("model.language_model"))
    bias = config.flag("projector_bias", default=False)
    tensors.linear(
        "model.multi_modal_projector", text.stack.hidden_dim, 4 * vision.hidden_dim, bias=bias, part="projector"
    )
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 16) // 16
    note = (
        () if inner else ("the config has no text_config: the class's defaults are counted, as transformers 5.23 does",)
    )
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=note)


def _text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Step3p7TextModel. Class defaults: Step3p7TextConfig, transformers 5.23."""
    if config.has("num_sliding_attention_heads") or config.has("attention_other_setting"):
        raise config.unknown("sliding layers with heads of their own (attention_other_setting) are not understood")
    shape = read_shape(config, DEFAULTS)
    windows = windows_of(
        config, shape.layers, config.optional_size("sliding_window"), default=["full_attention"] * shape.layers
    )
    mixers = [causal(shape.heads, window) for window in windows]
    types = config.texts("mlp_layer_types") or ("dense",) * min(3, shape.layers) + ("sparse",) * (shape.layers - 3)
    if len(types) != shape.layers:
        raise config.wrong("mlp_layer_types", f"one item for each of {shape.layers} layers", f"{len(types)} items")
    sparse = [kind == "sparse" for kind in types]
    mixture, dense = _mixture(config), Mlp(ffn_dim=config.core("intermediate_size", class_default=11264), gated=True)
    bias, mlp_bias = config.flag("attention_bias", default=False), config.flag("mlp_bias", default=False)
    tensors.embedding("embed_tokens", shape.vocab, shape.hidden)
    layer = tensors.at("layers.*", count=shape.layers)
    variant_attention(layer, shape, Variant(defaults=DEFAULTS, qk_norm="head", qkv_bias=bias, output_bias=bias))
    layer.linear("self_attn.g_proj", shape.heads.query, shape.hidden, part="attention")
    gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), shape.hidden, dense.ffn_dim, bias=mlp_bias)
    expert_layer = tensors.at("layers.*", count=sparse.count(True))
    expert_tensors(expert_layer, shape.hidden, mixture)
    if any(sparse):
        expert_layer.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype=None)
    gated_mlp_tensors(expert_layer, shape.hidden, mixture.shared_ffn_dim, bias=mlp_bias, name="mlp.shared_experts")
    layer.norm("input_layernorm", shape.hidden)
    layer.norm("post_attention_layernorm", shape.hidden)
    tensors.norm("norm", shape.hidden)
    rotary_by_kind(tensors, mixers, rotary_dims(config, shape.heads.dim))
    mlps = [mixture if flag else dense for flag in sparse]
    return TextModel(
        stack=stack_of("decoder", shape.hidden, zip(mixers, mlps, strict=True), implementation="step3p7_text"),
        vocab_size=shape.vocab,
        max_context_tokens=rope_limit(config, class_default=DEFAULTS.context),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _mixture(config: ConfigReader) -> Mlp:
    experts = config.core("n_routed_experts", class_default=288)
    active = config.core("num_experts_per_tok", class_default=8)
    if active > experts:
        raise config.wrong("num_experts_per_tok", f"at most the {experts} experts", active)
    return Mlp(
        ffn_dim=config.core("moe_intermediate_size", class_default=1280),
        gated=True,
        experts=experts,
        experts_per_token=active,
        shared_ffn_dim=config.core("share_expert_dim", class_default=1280),
    )


def _vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Step3p7VisionModel. Class defaults: Step3p7VisionConfig, transformers 5.23."""
    hidden = config.core("width", "hidden_size", class_default=1536)
    layers = config.layers("layers", "num_hidden_layers", class_default=47)
    query = config.core("heads", "num_attention_heads", class_default=16)
    patch, side = config.core("patch_size", class_default=14), config.core("image_size", class_default=728)
    ffn = int(hidden * config.number("mlp_ratio", 8960 / 1536))
    rows = config.size("max_position_embeddings", default=2704)
    channels = config.size("num_channels", default=3)
    tensors.conv("embeddings.patch_embedding", (hidden, channels, patch, patch), part="vision")
    tensors.embedding("embeddings.position_embedding", rows, hidden)
    tensors.buffer("embeddings.position_ids", (1, rows), dtype="int64")
    tensors.norm("pre_layernorm", hidden, bias=True)
    layer = tensors.at("layers.*", count=layers)
    for name in ("lambda_1", "lambda_2"):
        layer.parameter(name, (hidden,), part="vision")
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.fc1", max(1, ffn), hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, max(1, ffn), bias=True, part="vision")
    layer.norm("layernorm_before", hidden, bias=True)
    layer.norm("layernorm_after", hidden, bias=True)
    tensors.conv("downsampler1", (2 * hidden, hidden, 3, 3), bias=True, part="vision")
    tensors.conv("downsampler2", (4 * hidden, 2 * hidden, 3, 3), bias=True, part="vision")
    blocks = tower_blocks(config, hidden, query, max(1, ffn), layers, heads_name="num_attention_heads")
    for name in ("inv_freq", "original_inv_freq"):
        tensors.buffer(f"rotary_emb.{name}", (blocks[0][0].key_dim // 4,), dtype="float32")
    tokens = max(1, (side // patch) ** 2)
    return stack_of("vision", hidden, blocks, fixed_tokens=tokens, implementation="step3p7_vision")
