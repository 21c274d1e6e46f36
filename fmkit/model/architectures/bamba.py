"""Bamba: Mamba 2 with full attention in a few layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    rotary_buffers,
    stack_of,
)
from fmkit.model.architectures.mamba2 import mamba2_tensors, read_mamba2
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("bamba",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Bamba config."""
    return causal_lm(config, text_model, default_class="BambaForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """BambaModel. Class defaults: BambaConfig, transformers 5.23; half of each head is rotated, whatever the config says."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=128000)
    ffn = config.core("intermediate_size", class_default=14336)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    state = read_mamba2(config, hidden)
    attending = {layer for layer in config.sizes("attn_layer_indices") or () if layer < layers}
    tensors.embedding("embed_tokens", vocab, hidden)
    bias = config.flag("attention_bias", default=False)
    attention_tensors(tensors.at("layers.*", count=len(attending)), hidden, heads, bias=bias, output_bias=bias)
    mamba2_tensors(
        tensors.at("layers.*", count=layers - len(attending)).at("mamba"),
        hidden,
        state,
        bias=config.flag("mamba_proj_bias", default=False),
        conv_bias=config.flag("mamba_conv_bias", default=True),
    )
    layer = tensors.at("layers.*", count=layers)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False), name="feed_forward")
    layer.norm("input_layernorm", hidden)
    layer.norm("pre_ff_layernorm", hidden)
    tensors.norm("final_layernorm", hidden)
    rotary_buffers(tensors, heads.dim // 2)
    mlp = Mlp(ffn_dim=ffn, gated=True)
    mixers: list[Mixer] = [causal(heads, None) if layer in attending else state for layer in range(layers)]
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, mlp) for mixer in mixers]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=262144),
        tied=config.flag("tie_word_embeddings", default=False),
        kind="hybrid",
    )
