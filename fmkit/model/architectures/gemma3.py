"""Gemma 3: five sliding layers to one full; text only (1B), with a SigLIP tower (4B and up), and EmbeddingGemma."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    config_dtype,
    gated_mlp_tensors,
    head_tensors,
    linear_rope_factor,
    read_heads,
    rope_limit,
    rotary_buffers,
    stack_of,
    unknown_class,
    windows_of,
)
from fmkit.model.architectures.gemma2 import LAYER_NORMS
from fmkit.model.architectures.siglip import vision_tower
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer

MODEL_TYPES = ("gemma3", "gemma3_text")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Gemma 3 config, with or without images."""
    if config.model_type == "gemma3_text":
        return _text_only(config)
    name = config.class_name or "Gemma3ForConditionalGeneration"
    if name != "Gemma3ForConditionalGeneration":
        raise unknown_class(config, "Gemma3ForConditionalGeneration")
    tensors = Tensors()
    vision_config = config.part("vision_config")
    text_config = config.part("text_config")
    vision = vision_tower(vision_config, tensors.at("model.vision_tower", part="vision"))
    text = text_model(text_config, tensors.at("model.language_model"))
    # The outer flag counts: default of Gemma3Config, transformers 5.23.
    text = replace(text, tied=config.flag("tie_word_embeddings", default=True))
    projector = tensors.at("model.multi_modal_projector", part="projector")
    projector.parameter("mm_input_projection_weight", (vision.hidden_dim, text.stack.hidden_dim), part="projector")
    projector.norm("mm_soft_emb_norm", vision.hidden_dim)
    head_tensors(tensors, text)
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="gemma3",
        kind="vision-language",
        stacks=(text.stack, vision),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=False,
        linear_rope_factor=linear_rope_factor(text_config),
        tied_head=text.tied,
        # Default of Gemma3Config, transformers 5.23.
        image_tokens=config.size("mm_tokens_per_image", default=256),
        embedding_dim=text.stack.hidden_dim,
        notes=notes,
    )


def _text_only(config: ConfigReader) -> ModelSpec:
    if not config.flag("use_bidirectional_attention", default=False):
        return causal_lm(config, text_model, default_class="Gemma3ForCausalLM")
    tensors = Tensors()
    name = config.class_name or "Gemma3TextModel"
    if not name.endswith("Model"):
        raise unknown_class(config, "Gemma3TextModel (with bidirectional attention)")
    text = text_model(config, tensors)
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="gemma3_text",
        kind="encoder",
        stacks=(text.stack,),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=False,
        has_head=False,
        embedding_dim=text.stack.hidden_dim,
        notes=(*notes, "attention in both directions (use_bidirectional_attention): an encoder, no cache"),
    )


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Gemma3TextModel. Class defaults: Gemma3TextConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2304)
    layers = config.layers("num_hidden_layers", class_default=26)
    vocab = config.core("vocab_size", class_default=262208)
    ffn = config.core("intermediate_size", class_default=9216)
    heads = read_heads(config, hidden, heads=8, kv_heads=4, head_dim=256)
    windows = _windows(config, layers)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype=None)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.norm("self_attn.q_norm", heads.dim)
    layer.norm("self_attn.k_norm", heads.dim)
    gated_mlp_tensors(layer, hidden, ffn)
    for norm in LAYER_NORMS:
        layer.norm(norm, hidden)
    tensors.norm("norm", hidden)
    for kind, present in (("full_attention_", None in windows), ("sliding_attention_", any(windows))):
        if present:
            rotary_buffers(tensors, heads.dim, prefix=kind)
    mlp = Mlp(ffn_dim=ffn, gated=True)
    both_ways = config.flag("use_bidirectional_attention", default=False)
    mixers = [_encoder(heads, window) if both_ways else causal(heads, window) for window in windows]
    return TextModel(
        stack=stack_of(
            "encoder" if both_ways else "decoder",
            hidden,
            [(mixer, mlp) for mixer in mixers],
            implementation="gemma3_text",
        ),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=True),
    )


def _windows(config: ConfigReader, layers: int) -> Sequence[int | None]:
    """Every sixth layer full, the others sliding: default of Gemma3TextConfig, transformers 5.23."""
    pattern = config.size("sliding_window_pattern", default=6, null=6)
    default = ["sliding_attention" if (layer + 1) % pattern else "full_attention" for layer in range(layers)]
    window = config.size("sliding_window", default=4096, null=0) or None
    return windows_of(config, layers, window, default=default)


def _encoder(heads: Heads, window_tokens: int | None) -> Mixer:
    return EncoderAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=window_tokens
    )
