"""Gemma 3n: four residual streams, inputs per layer, layers that share a cache; images through a MobileNet, sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
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
from fmkit.model.architectures.gemma2 import LAYER_NORMS
from fmkit.model.architectures.gemma4_towers import MEL_BINS
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec, tower_blocks
from fmkit.model.attention import SharedAttention
from fmkit.model.spec import Mlp, Stack

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gemma3n", "gemma3n_text")
MOBILENET = "mobilenetv5_300m_enc"
MOBILENET_PARAMS = 294_126_912
"""Parameters of the image tower, which is timm's and has no fields: what the published totals hold beside all other
tensors and the key and value projections stored for layers that share a cache: 7,849,978,192 - 31,461,120 for E4B and
5,439,438,272 - 20,974,080 for E2B leave the same."""
FRAMES_30_S = 188
"""Tokens of 30 s of sound (`audio_soft_tokens_per_image`, default of Gemma3nConfig, transformers 5.23)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Gemma 3n config, with its towers or the text model alone."""
    if config.model_type == "gemma3n_text":
        return causal_lm(config, text_model, default_class="Gemma3nForCausalLM")
    name = checked_name(config, "Gemma3nForConditionalGeneration")
    tensors, vision_config, audio_config = Tensors(), config.part("vision_config"), config.part("audio_config")
    tower = vision_config.optional_text("architecture") or MOBILENET
    if tower != MOBILENET:
        raise config.unknown(f"image tower {tower[:60]!r} is not known; known: {MOBILENET}")
    towers = tensors.at("model.vision_tower", part="vision")
    towers.parameter("timm_model", (MOBILENET_PARAMS,), part="vision")
    text = language_model(config, tensors.at("model.language_model"), default_type="gemma3n_text", tied=True)
    audio = _audio_tower(audio_config, tensors.at("model.audio_tower", part="audio"))
    hidden = text.stack.hidden_dim
    features = vision_config.size("hidden_size", default=2048)
    _embedder(vision_config, tensors.at("model.embed_vision"), features, hidden)
    _embedder(audio_config, tensors.at("model.embed_audio"), audio.hidden_dim, hidden)
    head_tensors(tensors, text)
    tokens = config.size("vision_soft_tokens_per_image", default=256)
    vision = Stack(role="vision", hidden_dim=features, blocks=(), fixed_tokens=tokens, implementation="mobilenet_v5")
    notes = (
        "the image tower is timm's and counted as one block; what it holds while it runs is not counted",
        "key and value projections that are stored for layers that share a cache are not loaded: not counted",
    )
    return multimodal_spec(config, tensors, text, (vision, audio), name=name, image_tokens=tokens, notes=notes)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Gemma3nTextModel. Class defaults: Gemma3nTextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2048)
    layers = config.layers("num_hidden_layers", class_default=35)
    vocab = config.core("vocab_size", class_default=262400)
    heads, shared = read_heads(config, hidden, heads=8, kv_heads=2, head_dim=256), _shared_layers(config, layers)
    widths = _widths(config, layers)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype=None)
    for ffn in widths:
        gated_mlp_tensors(tensors.at("layers.*"), hidden, ffn)
    layer = tensors.at("layers.*", count=layers)
    _attention_tensors(config, layer, tensors.at("layers.*", count=layers - shared), hidden, heads)
    for norm in LAYER_NORMS:
        layer.norm(norm, hidden)
    _stream_tensors(config, tensors, layer, hidden)
    _per_layer_tensors(config, tensors, hidden, layers)
    tensors.norm("norm", hidden)
    pattern = ["full_attention" if (index + 1) % 5 == 0 else "sliding_attention" for index in range(layers)]
    windows = windows_of(config, layers, config.size("sliding_window", default=512), default=pattern)
    for kind, there in (("full", None in windows), ("sliding", any(windows))):
        if there:
            rotary_buffers(tensors, heads.dim, prefix=f"{kind}_attention_")
    mixers: list[Mixer] = [causal(heads, window) for window in windows[: layers - shared]]
    mixers += [_shared(heads, window) for window in windows[layers - shared :]]
    mlps = [Mlp(ffn_dim=ffn, gated=True) for ffn in widths]
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True), implementation="gemma3n_text"),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _widths(config: ConfigReader, layers: int) -> list[int]:
    """The feed-forward of each layer: one width, or a list."""
    if not config.is_list("intermediate_size"):
        return [config.core("intermediate_size", class_default=16384)] * layers
    widths = config.sizes("intermediate_size", minimum=1) or ()
    if len(widths) != layers:
        raise config.wrong("intermediate_size", f"one item for each of {layers} layers", f"{len(widths)} items")
    return list(widths)


def _shared_layers(config: ConfigReader, layers: int) -> int:
    shared = config.size("num_kv_shared_layers", default=15, null=0, minimum=0)
    if shared >= layers:
        raise config.wrong("num_kv_shared_layers", f"fewer than the {layers} layers", shared)
    return shared


def _shared(heads: Heads, window: int | None) -> SharedAttention:
    return SharedAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=window
    )


def _attention_tensors(config: ConfigReader, every: Tensors, caching: Tensors, hidden: int, heads: Heads) -> None:
    bias = config.flag("attention_bias", default=False)
    attention = every.at("self_attn")
    attention.linear("q_proj", heads.query * heads.dim, hidden, bias=bias, part="attention")
    attention.norm("q_norm", heads.dim)
    attention.linear("o_proj", hidden, heads.query * heads.dim, bias=bias, part="attention")
    keys = caching.at("self_attn")
    keys.linear("k_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
    keys.linear("v_proj", heads.kv * heads.dim, hidden, bias=bias, part="attention")
    keys.norm("k_norm", heads.dim)


def _stream_tensors(config: ConfigReader, tensors: Tensors, layer: Tensors, hidden: int) -> None:
    """AltUp (streams that are predicted and corrected) and LAuReL (a low-rank residual)."""
    streams, rank = config.size("altup_num_inputs", default=4), config.size("laurel_rank", default=64)
    altup = layer.at("altup")
    altup.parameter("correct_output_scale", (hidden,), part="norm")
    altup.linear("correction_coefs", streams, streams, part="mlp")
    altup.linear("prediction_coefs", streams * streams, streams, part="mlp")
    altup.linear("modality_router", streams, hidden, part="mlp")
    altup.norm("router_norm", hidden)
    altup.buffer("router_input_scale", (), dtype=None)
    layer.linear("laurel.linear_left", rank, hidden, part="mlp")
    layer.linear("laurel.linear_right", hidden, rank, part="mlp")
    layer.norm("laurel.post_laurel_norm", hidden)
    for name in ("altup_projections", "altup_unembed_projections"):
        tensors.at(name, count=streams - 1).linear("*", hidden, hidden, part="mlp")


def _per_layer_tensors(config: ConfigReader, tensors: Tensors, hidden: int, layers: int) -> None:
    """An embedding for each layer: one lookup of all of them, a gate and a projection in each layer."""
    width = config.size("hidden_size_per_layer_input", default=256)
    tensors.embedding(
        "embed_tokens_per_layer", config.size("vocab_size_per_layer_input", default=262144), layers * width
    )
    tensors.buffer("embed_tokens_per_layer.embed_scale", (), dtype=None)
    tensors.linear("per_layer_model_projection", layers * width, hidden, part="embedding")
    tensors.norm("per_layer_projection_norm", width)
    tensors.buffer("per_layer_projection_scale", (), dtype=None)
    tensors.buffer("per_layer_input_scale", (), dtype=None)
    layer = tensors.at("layers.*", count=layers)
    layer.linear("per_layer_input_gate", width, hidden, part="mlp")
    layer.linear("per_layer_projection", hidden, width, part="mlp")
    layer.norm("post_per_layer_input_norm", hidden)


def _embedder(config: ConfigReader, embedder: Tensors, features: int, hidden: int) -> None:
    """Gemma3nMultimodalEmbedder: words of a modality's own, and its features, projected to the text's width."""
    embedder.embedding("embedding", config.size("vocab_size", default=128), features)
    embedder.norm("hard_embedding_norm", features)
    embedder.norm("soft_embedding_norm", features)
    embedder.linear("embedding_projection", hidden, features, part="projector")


def _audio_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Gemma3nAudioEncoder, a conformer. Class defaults: Gemma3nAudioConfig, transformers 5.23."""
    hidden = config.size("hidden_size", default=1536)
    layers = config.layers("conf_num_hidden_layers", class_default=12)
    query = config.size("conf_num_attention_heads", default=8)
    channels = config.sizes("sscp_conv_channel_size", minimum=1) or (128, 32)
    convolution, inputs = tensors.at("subsample_conv_projection"), 1
    for index, outputs in enumerate(channels):
        convolution.conv(f"conv_{index}.conv", (outputs, inputs, 3, 3), part="audio")
        convolution.norm(f"conv_{index}.norm", outputs)
        inputs = outputs
    convolution.linear("input_proj_linear", hidden, MEL_BINS // 2 ** len(channels) * inputs, part="audio")
    blocks = tower_blocks(config, hidden, query, 4 * hidden, layers, heads_name="conf_num_attention_heads")
    layer = tensors.at("conformer.*", count=layers)
    for half in ("ffw_layer_start", "ffw_layer_end"):
        layer.norm(f"{half}.pre_layer_norm", hidden)
        layer.linear(f"{half}.ffw_layer_1", 4 * hidden, hidden, part="audio")
        layer.linear(f"{half}.ffw_layer_2", hidden, 4 * hidden, part="audio")
        layer.norm(f"{half}.post_layer_norm", hidden)
    attention = layer.at("attention")
    attention.parameter("attn.per_dim_scale", (blocks[0][0].key_dim,), part="audio")
    for name in ("attn.relative_position_embedding.pos_proj", "attn.q_proj", "attn.k_proj", "attn.v_proj", "post"):
        attention.linear(name, hidden, hidden, part="audio")
    attention.norm("pre_attn_norm", hidden)
    attention.norm("post_norm", hidden)
    kernel = config.size("conf_conv_kernel_size", default=5)
    layer.linear("lconv1d.linear_start", 2 * hidden, hidden, part="audio")
    layer.conv("lconv1d.depthwise_conv1d", (hidden, 1, kernel), part="audio")
    layer.linear("lconv1d.linear_end", hidden, hidden, part="audio")
    for name in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm"):
        layer.norm(name, hidden)
    return stack_of("audio", hidden, blocks, fixed_tokens=4 * FRAMES_30_S, implementation="gemma3n_audio")
