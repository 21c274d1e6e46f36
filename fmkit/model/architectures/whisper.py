"""Whisper: 30 seconds of sound are always 1500 encoder tokens; the decoder writes at most 448."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import Heads, causal, config_dtype, stack_of, unknown_class
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("whisper",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Whisper config. Class defaults: WhisperConfig, transformers 5.23."""
    name = config.class_name or "WhisperForConditionalGeneration"
    if name != "WhisperForConditionalGeneration":
        raise unknown_class(config, "WhisperForConditionalGeneration")
    tensors = Tensors()
    hidden = config.core("d_model", "hidden_size", class_default=384)
    vocab = config.core("vocab_size", class_default=51865)
    encoder = _encoder(config, tensors.at("model.encoder", part="audio"), hidden)
    decoder = _decoder(config, tensors.at("model.decoder"), hidden, vocab)
    tied = config.flag("tie_word_embeddings", default=True)
    if not tied:
        tensors.linear("proj_out", vocab, hidden, part="head")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="whisper",
        kind="speech",
        stacks=(decoder, encoder),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=vocab,
        max_context_tokens=decoder.max_tokens,
        context_is_hard=True,
        encoder_max_tokens=encoder.fixed_tokens,
        tied_head=tied,
        logits_to_keep=False,
        positions="learned",
        notes=notes,
    )


def _encoder(config: ConfigReader, tensors: Tensors, hidden: int) -> Stack:
    layers = config.layers("encoder_layers", class_default=4)
    tokens = config.core("max_source_positions", class_default=1500)
    heads, mlp = _sizes(config, "encoder", hidden)
    tensors.conv("conv1", (hidden, config.core("num_mel_bins", class_default=80), 3), bias=True, part="audio")
    tensors.conv("conv2", (hidden, hidden, 3), bias=True, part="audio")
    tensors.embedding("embed_positions", tokens, hidden)
    _layers(tensors.at("layers.*", count=layers), hidden, mlp.ffn_dim, crosses=False)
    tensors.norm("layer_norm", hidden, bias=True)
    attention = EncoderAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    return stack_of("audio", hidden, [(attention, mlp)] * layers, fixed_tokens=tokens)


def _decoder(config: ConfigReader, tensors: Tensors, hidden: int, vocab: int) -> Stack:
    layers = config.layers("decoder_layers", class_default=4)
    positions = config.core("max_target_positions", class_default=448)
    heads, mlp = _sizes(config, "decoder", hidden)
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.embedding("embed_positions", positions, hidden)
    _layers(tensors.at("layers.*", count=layers), hidden, mlp.ffn_dim, crosses=True)
    tensors.norm("layer_norm", hidden, bias=True)
    cross = CrossAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    return stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers, cross=cross, max_tokens=positions)


def _sizes(config: ConfigReader, side: str, hidden: int) -> tuple[Heads, Mlp]:
    query = config.core(f"{side}_attention_heads", class_default=6)
    dim = config.divide("d_model", hidden, f"{side}_attention_heads", query)
    ffn = config.core(f"{side}_ffn_dim", class_default=1536)
    return Heads(query=query, kv=query, dim=dim), Mlp(ffn_dim=ffn, gated=False)


def _layers(layer: Tensors, hidden: int, ffn_dim: int, *, crosses: bool) -> None:
    for attention in ("self_attn", "encoder_attn") if crosses else ("self_attn",):
        for name, bias in (("k_proj", False), ("v_proj", True), ("q_proj", True), ("out_proj", True)):
            layer.linear(f"{attention}.{name}", hidden, hidden, bias=bias, part="attention")
        layer.norm(f"{attention}_layer_norm", hidden, bias=True)
    layer.linear("fc1", ffn_dim, hidden, bias=True, part="mlp")
    layer.linear("fc2", hidden, ffn_dim, bias=True, part="mlp")
    layer.norm("final_layer_norm", hidden, bias=True)
