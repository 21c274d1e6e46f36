"""BLIP-2 and InstructBLIP: an image tower, a Q-Former that turns an image into 32 tokens, and OPT, T5 or Llama.

InstructBLIP's Q-Former reads the instruction, too.

BLIP-2's Q-Former and the queries are in `_keep_in_fp32_modules`: never quantised, and float32 beside float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import llama, opt, t5
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.clip import patches
from fmkit.model.architectures.decoder import (
    config_dtype,
    float32_in_half,
    head_tensors,
    stack_of,
    unknown_class,
)
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Block, Mlp, ModelSpec, Stack

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Positions

MODEL_TYPES = ("blip-2", "instructblip")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a BLIP-2 or InstructBLIP config, with OPT, T5 or Llama."""
    instructed = config.model_type == "instructblip"
    known = "InstructBlipForConditionalGeneration" if instructed else "Blip2ForConditionalGeneration"
    name = config.class_name or known
    if name != known:
        raise unknown_class(config, known)
    tensors, kept = Tensors(), float32_in_half(config)
    queries = config.size("num_query_tokens", default=32)
    vision = vision_tower(config.part("vision_config"), tensors.at("vision_model", part="vision"))
    qformer = _qformer(config, tensors, vision.hidden_dim, queries, kept)
    text_config = config.part("text_config")
    text = _t5(text_config, tensors, kept) if text_config.model_type == "t5" else _decoder(text_config, tensors)
    tensors.linear("language_projection", text.stacks[0].hidden_dim, qformer.hidden_dim, bias=True, part="projector")
    dtype, notes = config_dtype(config)
    is_t5 = text_config.model_type == "t5"
    return ModelSpec(
        architecture=name,
        model_type=str(config.model_type),
        kind="vision-language",
        stacks=(*text.stacks, vision, qformer),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        context_is_hard=text.context_is_hard,
        tied_head=text.tied,
        logits_to_keep=False,
        positions=text.positions,
        image_tokens=queries,
        notes=(*notes, "the image's tokens go to the T5 encoder") if is_t5 else notes,
    )


def vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Blip2VisionModel (EVA-CLIP g). Class defaults: Blip2VisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1408)
    patch = config.core("patch_size", class_default=14)
    layers = config.layers("num_hidden_layers", class_default=39)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=6144)
    tokens = patches(config, patch, image_default=224) + 1
    dim = config.divide("hidden_size", hidden, "num_attention_heads", query)
    tensors.parameter("embeddings.class_embedding", (1, 1, hidden), part="vision")
    tensors.parameter("embeddings.position_embedding", (1, tokens, hidden), part="vision")
    tensors.conv("embeddings.patch_embedding", (hidden, 3, patch, patch), bias=True, part="vision")
    layer = tensors.at("encoder.layers.*", count=layers)
    qkv_bias = config.flag("qkv_bias", default=True)
    layer.linear("self_attn.qkv", 3 * hidden, hidden, bias=qkv_bias, part="vision")
    layer.linear("self_attn.projection", hidden, hidden, bias=True, part="vision")
    layer.norm("layer_norm1", hidden, bias=True)
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")
    layer.norm("layer_norm2", hidden, bias=True)
    tensors.norm("post_layernorm", hidden, bias=True)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    blocks = [(attention, Mlp(ffn_dim=ffn, gated=False))] * layers
    return stack_of("vision", hidden, blocks, fixed_tokens=tokens, implementation="blip_2_vision_model")


def _qformer(config: ConfigReader, tensors: Tensors, vision_dim: int, queries: int, kept: str | None) -> Stack:
    """Blip2QFormerModel: a BERT over the queries, every other layer looking at the image.

    InstructBLIP's has word embeddings, and feed-forwards of their own for the words. Class defaults: Blip2QFormerConfig
    and InstructBlipQFormerConfig, transformers 5.23.
    """
    inner = config.part("qformer_config")
    instructed = config.model_type == "instructblip"
    if inner.flag("use_qformer_text_input", default=False):
        raise config.unknown("a BLIP-2 Q-Former with text input is not understood")
    hidden = inner.core("hidden_size", class_default=768)
    layers = inner.layers("num_hidden_layers", class_default=12)
    query = inner.core("num_attention_heads", class_default=12)
    ffn = inner.core("intermediate_size", class_default=3072)
    every = inner.size("cross_attention_frequency", default=2)
    crossing = -(-layers // every)
    dim = inner.divide("hidden_size", hidden, "num_attention_heads", query)
    tensors.at("", quantisable=False, dtype=kept).parameter("query_tokens", (1, queries, hidden), part="qformer")
    if instructed:
        qformer = tensors.at("qformer", part="qformer")
        _word_tensors(inner, qformer, hidden, layers, ffn)
    else:
        # In _keep_in_fp32_modules too, but as the beginning of a name, which every quantiser finds.
        qformer = tensors.at("qformer", part="qformer", quantisable=False, dtype=kept)
        qformer.norm("layernorm", hidden, bias=True)
    _attention(qformer.at("encoder.layer.*.attention", count=layers), hidden, hidden)
    _attention(qformer.at("encoder.layer.*.crossattention", count=crossing), hidden, vision_dim)
    layer = qformer.at("encoder.layer.*", count=layers)
    layer.linear("intermediate_query.dense", ffn, hidden, bias=True, part="qformer")
    layer.linear("output_query.dense", hidden, ffn, bias=True, part="qformer")
    layer.norm("output_query.LayerNorm", hidden, bias=True)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    cross = CrossAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    mlp = Mlp(ffn_dim=ffn, gated=False)
    blocks = [Block(count=crossing, mixer=attention, cross=cross, mlp=mlp)]
    if layers > crossing:
        blocks.append(Block(count=layers - crossing, mixer=attention, mlp=mlp))
    return Stack(
        role="qformer",
        hidden_dim=hidden,
        blocks=tuple(blocks),
        fixed_tokens=queries,
        implementation="blip_2_qformer",
    )


def _attention(attention: Tensors, hidden: int, keys_from: int) -> None:
    attention.linear("attention.query", hidden, hidden, bias=True, part="qformer")
    attention.linear("attention.key", hidden, keys_from, bias=True, part="qformer")
    attention.linear("attention.value", hidden, keys_from, bias=True, part="qformer")
    attention.linear("output.dense", hidden, hidden, bias=True, part="qformer")
    attention.norm("output.LayerNorm", hidden, bias=True)


def _word_tensors(config: ConfigReader, qformer: Tensors, hidden: int, layers: int, ffn: int) -> None:
    """What InstructBLIP's Q-Former has for the words of the instruction."""
    positions = config.core("max_position_embeddings", class_default=512)
    embeddings = qformer.at("embeddings")
    embeddings.embedding("word_embeddings", config.core("vocab_size", class_default=30522), hidden)
    embeddings.embedding("position_embeddings", positions, hidden)
    embeddings.norm("layernorm", hidden, bias=True)
    embeddings.buffer("position_ids", (1, positions), dtype="int64")
    layer = qformer.at("encoder.layer.*", count=layers)
    layer.linear("intermediate.dense", ffn, hidden, bias=True, part="qformer")
    layer.linear("output.dense", hidden, ffn, bias=True, part="qformer")
    layer.norm("output.LayerNorm", hidden, bias=True)


@dataclass(frozen=True, kw_only=True)
class _Text:
    """The language model inside."""

    stacks: tuple[Stack, ...]
    vocab_size: int
    max_context_tokens: int | None
    tied: bool
    context_is_hard: bool
    positions: Positions


def _decoder(config: ConfigReader, tensors: Tensors) -> _Text:
    kind = config.model_type or "opt"
    if kind not in ("opt", "llama"):
        raise config.unknown(f"text model of type {kind[:60]!r} is not understood; known: llama, opt, t5")
    language = tensors.at("language_model")
    build = opt.text_model if kind == "opt" else llama.text_model
    text = build(config, language.at("model.decoder" if kind == "opt" else "model"))
    head_tensors(language, text)
    stack = msgspec.structs.replace(text.stack, implementation=kind)
    return _Text(
        stacks=(stack,),
        vocab_size=text.vocab_size,
        max_context_tokens=text.max_context_tokens,
        tied=text.tied,
        context_is_hard=text.context_is_hard,
        positions=text.positions,
    )


def _t5(config: ConfigReader, tensors: Tensors, kept: str | None) -> _Text:
    shape = t5.read_shape(config)
    t5.build(tensors.at("language_model"), shape, decoder=True, wo_dtype=kept)
    halves = (t5.decoder_stack(shape), t5.encoder_stack(shape))
    return _Text(
        stacks=tuple(msgspec.structs.replace(half, implementation="t5") for half in halves),
        vocab_size=shape.vocab_size,
        max_context_tokens=config.optional_size("n_positions"),
        tied=True,
        context_is_hard=False,
        positions="relative",
    )
