"""Gemma 4: sliding layers and full ones with wider heads, layers that share a cache, inputs per layer, experts, images, sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
    Heads,
    TextModel,
    causal,
    causal_lm,
    gated_mlp_tensors,
    head_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    stack_of,
    windows_of,
)
from fmkit.model.architectures.gemma4_towers import audio_tower, vision_tower
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec
from fmkit.model.attention import SharedAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gemma4", "gemma4_text")
LAYER_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Gemma 4 config, with its towers or the text model alone."""
    if config.model_type == "gemma4_text":
        return causal_lm(config, text_model, default_class="Gemma4ForCausalLM")
    name = checked_name(config, "Gemma4ForConditionalGeneration")
    tensors, vision_config, audio_config = Tensors(), config.part("vision_config"), config.child("audio_config")
    vision = vision_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="gemma4_text", tied=True)
    hidden, towers = text.stack.hidden_dim, [vision]
    # bitsandbytes leaves the last module before the tied head alone.
    silent = audio_config is None
    projections = tensors.at("model", part="projector")
    projections.linear(
        "embed_vision.embedding_projection", hidden, vision.hidden_dim, part="projector", quantisable=not silent
    )
    if audio_config is not None:
        audio, width = audio_tower(audio_config, tensors.at("model.audio_tower", part="audio"))
        towers.append(audio)
        projections.linear("embed_audio.embedding_projection", hidden, width, part="projector", quantisable=False)
    head_tensors(tensors, text)
    tokens = config.size(
        "vision_soft_tokens_per_image", default=vision_config.size("default_output_length", default=280)
    )
    return multimodal_spec(config, tensors, text, tuple(towers), name=name, image_tokens=tokens)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Gemma4TextModel. Class defaults: Gemma4TextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2304)
    layers = config.layers("num_hidden_layers", class_default=30)
    vocab = config.core("vocab_size", class_default=262144)
    windows, sharing = _windows(config, layers), _sharing_layers(config, layers)
    sliding, full = _heads(config, hidden)
    mlps = _feed_forwards(config, sharing)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype=None)
    mixers: list[Mixer] = []
    for window, shares, mlp in zip(windows, sharing, mlps, strict=True):
        heads = full if window is None else sliding
        one_projection = window is None and config.flag("attention_k_eq_v", default=False)
        layer = tensors.at("layers.*")
        _attention_tensors(config, layer, hidden, heads, shares=shares, one_projection=one_projection)
        gated_mlp_tensors(layer, hidden, mlp.shared_ffn_dim or mlp.ffn_dim)
        mixers.append(_shared(heads, window) if shares else causal(heads, window))
    layer = tensors.at("layers.*", count=layers)
    for name in LAYER_NORMS:
        layer.norm(name, hidden)
    layer.buffer("layer_scalar", (1,), dtype=None)
    if mlps[0].experts:
        _expert_tensors(layer, hidden, mlps[0])
    _per_layer_tensors(config, tensors, hidden, layers)
    tensors.norm("norm", hidden)
    if None in windows:
        rotary_buffers(tensors, full.dim, prefix="full_attention_")
    if any(windows):
        rotary_buffers(tensors, sliding.dim, prefix="sliding_attention_")
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True)),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """Five sliding layers to one full unless `layer_types` says otherwise; the last is always full (Gemma4TextConfig)."""
    pattern = ["full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)]
    window = config.size("sliding_window", default=512)
    if config.optional_text("use_bidirectional_attention") == "all":
        raise config.unknown("attention in both directions (use_bidirectional_attention: all) is not understood")
    return [*windows_of(config, layers, window, default=pattern)[:-1], None]


def _sharing_layers(config: ConfigReader, layers: int) -> list[bool]:
    """The last `num_kv_shared_layers` attend to what an earlier layer of their kind cached."""
    shared = config.size("num_kv_shared_layers", default=0, null=0, minimum=0)
    if shared >= layers:
        raise config.wrong("num_kv_shared_layers", f"fewer than the {layers} layers", shared)
    return [layer >= layers - shared for layer in range(layers)]


def _heads(config: ConfigReader, hidden: int) -> tuple[Heads, Heads]:
    """Heads of sliding and of full layers, which are wider, and fewer where keys serve as values."""
    sliding = read_heads(config, hidden, heads=8, kv_heads=4, head_dim=256)
    one_projection = config.flag("attention_k_eq_v", default=False)
    kv = (config.optional_size("num_global_key_value_heads") if one_projection else None) or sliding.kv
    return sliding, Heads(query=sliding.query, kv=kv, dim=config.size("global_head_dim", default=512))


def _feed_forwards(config: ConfigReader, sharing: list[bool]) -> list[Mlp]:
    ffn = config.core("intermediate_size", class_default=9216)
    if config.flag("enable_moe_block", default=False):
        experts, active = config.size("num_experts"), config.size("top_k_experts")
        if active > experts:
            raise config.wrong("top_k_experts", f"at most the {experts} experts", active)
        width = config.size("moe_intermediate_size")
        mixture = Mlp(ffn_dim=width, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=ffn)
        return [mixture] * len(sharing)
    wide = config.flag("use_double_wide_mlp", default=False)
    return [Mlp(ffn_dim=2 * ffn if wide and shares else ffn, gated=True) for shares in sharing]


def _attention_tensors(
    config: ConfigReader, layer: Tensors, hidden: int, heads: Heads, *, shares: bool, one_projection: bool
) -> None:
    bias = config.flag("attention_bias", default=False)
    attention = layer.at("self_attn")
    attention.linear("q_proj", heads.query * heads.dim, hidden, bias=bias, part="attention")
    attention.norm("q_norm", heads.dim)
    if not shares:
        attention.norm("k_norm", heads.dim)
        attention.linear("k_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
        if not one_projection:
            attention.linear("v_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
    attention.linear("o_proj", hidden, heads.query * heads.dim, bias=bias, part="attention")


def _shared(heads: Heads, window: int | None) -> SharedAttention:
    return SharedAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=window
    )


def _expert_tensors(layer: Tensors, hidden: int, mlp: Mlp) -> None:
    """Experts beside the dense feed-forward, each with norms of its own."""
    layer.parameter("router.scale", (hidden,), part="router")
    layer.parameter("router.per_expert_scale", (mlp.experts,), part="router")
    layer.linear("router.proj", mlp.experts, hidden, part="router")
    shape_in, shape_out = (mlp.experts, 2 * mlp.ffn_dim, hidden), (mlp.experts, hidden, mlp.ffn_dim)
    layer.parameter("experts.gate_up_proj", shape_in, part="experts", active=mlp.experts_per_token)
    layer.parameter("experts.down_proj", shape_out, part="experts", active=mlp.experts_per_token)
    for name in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"):
        layer.norm(name, hidden)


def _per_layer_tensors(config: ConfigReader, tensors: Tensors, hidden: int, layers: int) -> None:
    """An embedding for each layer (E2B, E4B): one lookup of all of them, a gate and a projection in each layer."""
    width = config.size("hidden_size_per_layer_input", default=256, null=0, minimum=0)
    if not width:
        return
    rows = config.size("vocab_size_per_layer_input", default=262144)
    tensors.embedding("embed_tokens_per_layer", rows, layers * width)
    tensors.buffer("embed_tokens_per_layer.embed_scale", (), dtype=None)
    tensors.linear("per_layer_model_projection", layers * width, hidden, part="embedding")
    tensors.norm("per_layer_projection_norm", width)
    layer = tensors.at("layers.*", count=layers)
    layer.linear("per_layer_input_gate", width, hidden, part="mlp")
    layer.linear("per_layer_projection", hidden, width, part="mlp")
    layer.norm("post_per_layer_input_norm", hidden)
