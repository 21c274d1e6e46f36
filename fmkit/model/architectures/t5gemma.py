"""T5Gemma: two Gemma 2, one of them an encoder, the other a decoder that attends to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
    attention_tensors,
    causal,
    config_dtype,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
    unknown_class,
    windows_of,
)
from fmkit.model.attention import CrossAttention, EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import Stack, StackRole

MODEL_TYPES = ("t5gemma",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a T5Gemma config."""
    name = config.class_name or "T5GemmaForConditionalGeneration"
    if name != "T5GemmaForConditionalGeneration":
        raise unknown_class(config, "T5GemmaForConditionalGeneration")
    tensors = Tensors()
    encoder_config, decoder_config = config.part("encoder"), config.part("decoder")
    encoder = _stack(encoder_config, tensors.at("model.encoder"))
    decoder = _stack(decoder_config, tensors.at("model.decoder"), crossed_dim=encoder.hidden_dim)
    vocab = decoder_config.core("vocab_size", class_default=256000)
    tied = config.flag("tie_word_embeddings", default=True)
    if not tied:
        tensors.linear("lm_head.out_proj", vocab, decoder.hidden_dim, part="head")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="t5gemma",
        kind="encoder-decoder",
        stacks=(decoder, encoder),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=vocab,
        max_context_tokens=rope_limit(decoder_config, class_default=8192),
        context_is_hard=False,
        tied_head=tied,
        # The class takes logits_to_keep and hands it on to nothing that would save memory in the encoder.
        logits_to_keep=True,
        notes=notes,
    )


def _stack(config: ConfigReader, tensors: Tensors, *, crossed_dim: int | None = None) -> Stack:
    """T5GemmaEncoder, or T5GemmaDecoder where `crossed_dim` is given. Class defaults: T5GemmaModuleConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2304)
    layers = config.layers("num_hidden_layers", class_default=26)
    ffn = config.core("intermediate_size", class_default=9216)
    heads = read_heads(config, hidden, heads=8, kv_heads=4, head_dim=256)
    tensors.embedding("embed_tokens", config.core("vocab_size", class_default=256000), hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    layer = tensors.at("layers.*", count=layers)
    bias = config.flag("attention_bias", default=False)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn)
    halves = ("self_attn", "feedforward") if crossed_dim is None else ("self_attn", "feedforward", "cross_attn")
    for half in halves:
        layer.norm(f"pre_{half}_layernorm", hidden)
        layer.norm(f"post_{half}_layernorm", hidden)
    pattern = ["sliding_attention" if index % 2 == 0 else "full_attention" for index in range(layers)]
    windows = windows_of(config, layers, config.size("sliding_window", default=4096), default=pattern)
    mlp, cross = Mlp(ffn_dim=ffn, gated=True), None
    if crossed_dim is not None:
        _cross_tensors(layer.at("cross_attn"), hidden, crossed_dim, heads, bias=bias)
        cross = CrossAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    mixers: list[Mixer] = [
        causal(heads, window) if crossed_dim is not None else _both_ways(heads, window) for window in windows
    ]
    role: StackRole = "encoder" if crossed_dim is None else "decoder"
    return stack_of(role, hidden, [(mixer, mlp) for mixer in mixers], cross=cross)


def _both_ways(heads: Heads, window: int | None) -> EncoderAttention:
    return EncoderAttention(
        query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim, window_tokens=window
    )


def _cross_tensors(cross: Tensors, hidden: int, crossed_dim: int, heads: Heads, *, bias: bool) -> None:
    cross.linear("q_proj", heads.query * heads.dim, hidden, bias=bias, part="attention")
    cross.linear("k_proj", heads.kv * heads.dim, crossed_dim, bias=bias, part="attention")
    cross.linear("v_proj", heads.kv * heads.dim, crossed_dim, bias=bias, part="attention")
    cross.linear("o_proj", hidden, heads.query * heads.dim, bias=bias, part="attention")
