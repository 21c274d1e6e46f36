"""Falcon-H1: attention and Mamba 2 side by side in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal_lm,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.mamba2 import mamba2_tensors, read_mamba2
from fmkit.model.attention import FullAttention
from fmkit.model.layers import Parallel
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("falcon_h1",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Falcon-H1 config."""
    return causal_lm(config, text_model, default_class="FalconH1ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """FalconH1Model. Class defaults: FalconH1Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=128000)
    ffn = config.core("intermediate_size", class_default=14336)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    named = config.size("mamba_d_ssm", default=1024, null=0)
    state = read_mamba2(config, hidden, inner=named or None)
    if named and state.inner_dim != named:
        raise config.wrong("mamba_d_ssm", f"mamba_n_heads x mamba_d_head ({state.inner_dim})", named)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False), name="feed_forward")
    bias = config.flag("mamba_proj_bias", default=False)
    mamba2_tensors(
        layer.at("mamba"),
        hidden,
        state,
        bias=bias,
        conv_bias=config.flag("mamba_conv_bias", default=True),
        output_bias=config.flag("projectors_bias", default=False),
        norm=config.flag("mamba_rms_norm", default=False),
    )
    layer.buffer("mamba.mup_vector", (1, 1, state.inner_dim + state.conv_dim + state.heads), dtype="float32")
    attention_bias = config.flag("attention_bias", default=False)
    attention_tensors(layer, hidden, heads, bias=attention_bias, output_bias=attention_bias)
    layer.norm("input_layernorm", hidden)
    layer.norm("pre_ff_layernorm", hidden)
    tensors.norm("final_layernorm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    attention = FullAttention(query_heads=heads.query, kv_heads=heads.kv, key_dim=heads.dim, value_dim=heads.dim)
    mixer = Parallel(attention=attention, state=state)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=8192),
        tied=config.flag("tie_word_embeddings", default=False),
        kind="hybrid",
    )
