"""Llama 4: chunked attention in three of four layers, experts of which one runs, an image tower of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import patches
from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    config_dtype,
    gated_mlp_tensors,
    head_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
    unknown_class,
)
from fmkit.model.attention import ChunkedAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import Stack

MODEL_TYPES = ("llama4", "llama4_text")
MAX_TILES = 16
"""Tiles an image is cut to at most, beside the overview (Llama4ImageProcessor, transformers 5.23)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Llama 4 config, with its image tower or the text model alone."""
    if config.model_type == "llama4_text":
        return causal_lm(config, text_model, default_class="Llama4ForCausalLM")
    name = config.class_name or "Llama4ForConditionalGeneration"
    if name != "Llama4ForConditionalGeneration":
        raise unknown_class(config, "Llama4ForConditionalGeneration")
    tensors = Tensors()
    vision_config = config.part("vision_config")
    vision, features = _vision_tower(vision_config, tensors.at("vision_model", part="vision"))
    language = tensors.at("language_model")
    text = text_model(config.part("text_config"), language.at("model"))
    tensors.linear("multi_modal_projector.linear_1", text.stack.hidden_dim, features, part="projector")
    head_tensors(language, text)
    dtype, notes = config_dtype(config)
    vision = msgspec.structs.replace(vision, tiles=MAX_TILES + 1)
    tokens = int(((vision.fixed_tokens or 1) - 1) * _shuffle(vision_config) ** 2)
    return ModelSpec(
        architecture=name,
        model_type="llama4",
        kind="vision-language",
        stacks=(text.stack, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=False,
        tied_head=text.tied,
        image_tokens=tokens * vision.tiles,
        embedding_dim=text.stack.hidden_dim,
        notes=(*notes, f"an image of one tile takes {tokens} tokens; {MAX_TILES} tiles and the overview are counted"),
    )


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Llama4TextModel. Class defaults: Llama4TextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=5120)
    layers = config.layers("num_hidden_layers", class_default=48)
    vocab = config.core("vocab_size", class_default=202048)
    heads = read_heads(config, hidden, heads=40, kv_heads=8, head_dim=128)
    mixers = _mixers(config, layers, heads)
    mixture, sparse = _mixture(config), _sparse_layers(config, layers)
    dense = Mlp(ffn_dim=config.core("intermediate_size_mlp", class_default=16384), gated=True)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), hidden, dense.ffn_dim, name="feed_forward")
    _expert_tensors(tensors.at("layers.*", count=sparse.count(True)).at("feed_forward"), hidden, mixture)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mlps = [mixture if flag else dense for flag in sparse]
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True), implementation="llama4_text"),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _mixers(config: ConfigReader, layers: int, heads: Heads) -> list[Mixer]:
    """Chunked attention where positions are rotated, full attention where they are not (Llama4TextConfig)."""
    types = config.texts("layer_types")
    if types is None:
        rotated = config.sizes("no_rope_layers")
        interval = config.size("no_rope_layer_interval", default=4)
        flags = (
            [bool(flag) for flag in rotated] if rotated else [(layer + 1) % interval != 0 for layer in range(layers)]
        )
    else:
        flags = [kind == "chunked_attention" for kind in types]
    if len(flags) != layers:
        raise config.wrong("no_rope_layers", f"one item for each of {layers} layers", f"{len(flags)} items")
    chunk = config.size("attention_chunk_size", default=8192)
    chunked = ChunkedAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=chunk
    )
    return [chunked if flag else causal(heads, None) for flag in flags]


def _mixture(config: ConfigReader) -> Mlp:
    experts = config.core("num_local_experts", class_default=16)
    active = config.core("num_experts_per_tok", class_default=1)
    if active > experts:
        raise config.wrong("num_experts_per_tok", f"at most the {experts} experts", active)
    ffn = config.core("intermediate_size", class_default=8192)
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=ffn)


def _sparse_layers(config: ConfigReader, layers: int) -> list[bool]:
    named = config.sizes("moe_layers")
    if named is not None:
        return [layer in named for layer in range(layers)]
    step = config.size("interleave_moe_layer_step", default=1)
    return [(layer + 1) % step == 0 for layer in range(layers)]


def _expert_tensors(module: Tensors, hidden: int, mlp: Mlp) -> None:
    """Fused experts, transposed: inputs come first."""
    shape_in, shape_out = (mlp.experts, hidden, 2 * mlp.ffn_dim), (mlp.experts, mlp.ffn_dim, hidden)
    active = mlp.experts_per_token
    module.parameter("experts.gate_up_proj", shape_in, part="experts", active=active, inputs_first=True)
    module.parameter("experts.down_proj", shape_out, part="experts", active=active, inputs_first=True)
    # The router is a subclass of torch.nn.Linear: never quantised.
    module.linear("router", mlp.experts, hidden, part="router", quantisable=False)
    gated_mlp_tensors(module, hidden, mlp.shared_ffn_dim, name="shared_expert")


def _shuffle(config: ConfigReader) -> float:
    return config.number("pixel_shuffle_ratio", 0.5)


def _vision_tower(config: ConfigReader, tensors: Tensors) -> tuple[Stack, int]:
    """Llama4VisionModel, and the width it gives. Class defaults: Llama4VisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    layers = config.layers("num_hidden_layers", class_default=34)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=5632)
    patch = config.core("patch_size", class_default=14)
    tokens = patches(config, patch, image_default=448) + 1
    dim = config.divide("hidden_size", hidden, "num_attention_heads", query)
    tensors.parameter("class_embedding", (hidden,), part="vision")
    tensors.parameter("positional_embedding_vlm", (tokens, hidden), part="vision")
    channels = config.size("num_channels", default=3)
    tensors.linear("patch_embedding.linear", hidden, channels * patch * patch, part="vision")
    tensors.norm("layernorm_pre", hidden, bias=True)
    tensors.norm("layernorm_post", hidden, bias=True)
    layer = tensors.at("model.layers.*", count=layers)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    width, out = config.size("projector_input_dim", default=4096), config.size("projector_output_dim", default=4096)
    tensors.linear("vision_adapter.mlp.fc1", width, ffn, part="vision")
    tensors.linear("vision_adapter.mlp.fc2", out, width, part="vision")
    tensors.buffer("rotary_embedding.freqs_ci", (tokens, 1, dim // 2), dtype="complex64")
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    blocks = [(attention, Mlp(ffn_dim=ffn, gated=False))] * layers
    stack = stack_of("vision", hidden, blocks, fixed_tokens=tokens, implementation="llama4_vision_model")
    return stack, config.size("vision_output_dim", default=7680)
