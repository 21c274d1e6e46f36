"""Phi-3.5-MoE and Phi-mini-MoE: a mixture of experts with LayerNorms, biases and a biased head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    experts_of,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
    windows_of,
)

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("phimoe",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Phi-MoE config."""
    return causal_lm(config, text_model, default_class="PhimoeForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """PhimoeModel. Class defaults: PhimoeConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32064)
    ffn = config.core("intermediate_size", class_default=6400)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    bias = config.flag("attention_bias", default=False)
    mlp = experts_of(config, "num_local_experts", "num_experts", per_token=2, experts=16, ffn_dim=ffn)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    # The router is a subclass of torch.nn.Linear, which bitsandbytes leaves alone.
    layer.linear("mlp.router", mlp.experts, hidden, part="router", quantisable=False)
    experts = layer.at("mlp.experts")
    experts.parameter("gate_up_proj", (mlp.experts, 2 * ffn, hidden), part="experts", active=mlp.experts_per_token)
    experts.parameter("down_proj", (mlp.experts, hidden, ffn), part="experts", active=mlp.experts_per_token)
    layer.norm("input_layernorm", hidden, bias=True)
    layer.norm("post_attention_layernorm", hidden, bias=True)
    tensors.norm("norm", hidden, bias=True)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    windows = windows_of(config, layers, config.optional_size("sliding_window"))
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
        head_bias=config.flag("lm_head_bias", default=False),
    )
