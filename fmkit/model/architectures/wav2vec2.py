"""Wav2Vec 2.0: convolutions over the waveform, an encoder over their frames, letters from each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import config_dtype, stack_of, unknown_class
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp, ModelSpec

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

MODEL_TYPES = ("wav2vec2",)
CONV_DIMS, CONV_KERNELS = (512,) * 7, (10, 3, 3, 3, 3, 2, 2)
"""Defaults of Wav2Vec2Config, transformers 5.23."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Wav2Vec 2.0 config, with its letters or bare."""
    name = config.class_name or "Wav2Vec2ForCTC"
    if name not in ("Wav2Vec2ForCTC", "Wav2Vec2Model"):
        raise unknown_class(config, "Wav2Vec2ForCTC, Wav2Vec2Model")
    if config.flag("add_adapter", default=False) or config.has("adapter_attn_dim"):
        raise config.unknown("adapters (add_adapter, adapter_attn_dim) are not understood")
    tensors, bare = Tensors(), name == "Wav2Vec2Model"
    stack = _encoder(config, tensors.at("" if bare else "wav2vec2"))
    vocab = config.size("vocab_size", default=32)
    if not bare:
        tensors.linear("lm_head", vocab, stack.hidden_dim, bias=True, part="projector")
    dtype, notes = config_dtype(config)
    return ModelSpec(
        architecture=name,
        model_type="wav2vec2",
        kind="speech",
        stacks=(stack,),
        tensors=tensors.groups(),
        config_dtype=dtype,
        vocab_size=None if bare else vocab,
        max_context_tokens=None,
        context_is_hard=False,
        has_head=False,
        logits_to_keep=False,
        positions="none",
        embedding_dim=stack.hidden_dim,
        notes=(
            *notes,
            "a token is a frame of 20 ms; the convolutions before the encoder hold more than it for long audio",
        ),
    )


def _encoder(config: ConfigReader, tensors: Tensors) -> Stack:
    """Wav2Vec2Model. Class defaults: Wav2Vec2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    layers = config.layers("num_hidden_layers", class_default=12)
    query = config.core("num_attention_heads", class_default=12)
    ffn = config.core("intermediate_size", class_default=3072)
    if config.number("mask_time_prob", 0.05) > 0:
        tensors.parameter("masked_spec_embed", (hidden,), part="audio")
    last = _convolutions(config, tensors.at("feature_extractor.conv_layers"))
    tensors.norm("feature_projection.layer_norm", last, bias=True)
    tensors.linear("feature_projection.projection", hidden, last, bias=True, part="audio")
    encoder = tensors.at("encoder")
    kernel = config.size("num_conv_pos_embeddings", default=128)
    groups = config.size("num_conv_pos_embedding_groups", default=16)
    per_group = config.divide("hidden_size", hidden, "num_conv_pos_embedding_groups", groups)
    positions = encoder.at("pos_conv_embed.conv")
    # A weight norm: magnitude and direction in place of the convolution's weight.
    positions.parameter("parametrizations.weight.original0", (1, 1, kernel), part="audio")
    positions.parameter("parametrizations.weight.original1", (hidden, per_group, kernel), part="audio")
    encoder.conv_bias("pos_conv_embed.conv", hidden, part="audio")
    encoder.norm("layer_norm", hidden, bias=True)
    layer = encoder.at("layers.*", count=layers)
    for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"attention.{projection}", hidden, hidden, bias=True, part="attention")
    layer.norm("layer_norm", hidden, bias=True)
    layer.linear("feed_forward.intermediate_dense", ffn, hidden, bias=True, part="mlp")
    layer.linear("feed_forward.output_dense", hidden, ffn, bias=True, part="mlp")
    layer.norm("final_layer_norm", hidden, bias=True)
    dim = config.divide("hidden_size", hidden, "num_attention_heads", query)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    return stack_of("audio", hidden, [(attention, Mlp(ffn_dim=ffn, gated=False))] * layers)


def _convolutions(config: ConfigReader, tensors: Tensors) -> int:
    """The convolutions over the waveform; the width of the last. Their norms: one on the first, or one on each."""
    dims = config.sizes("conv_dim", minimum=1) or CONV_DIMS
    kernels = config.sizes("conv_kernel", minimum=1) or CONV_KERNELS
    if len(dims) != len(kernels):
        raise config.wrong("conv_kernel", f"one item for each of {len(dims)} convolutions", f"{len(kernels)} items")
    bias = config.flag("conv_bias", default=False)
    each = config.optional_text("feat_extract_norm") == "layer"
    inputs = 1
    for index, (dim, kernel) in enumerate(zip(dims, kernels, strict=True)):
        tensors.conv("*.conv", (dim, inputs, kernel), bias=bias, part="audio")
        if each or index == 0:
            tensors.norm("*.layer_norm", dim, bias=True)
        inputs = dim
    return inputs
