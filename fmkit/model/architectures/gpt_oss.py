"""gpt-oss: alternating windows, attention sinks, experts with biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

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

MODEL_TYPES = ("gpt_oss",)
SILENT_DTYPE_NOTE = "the config names no type; the published weights are bfloat16, their experts MXFP4"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a gpt-oss config."""
    spec = causal_lm(config, text_model, default_class="GptOssForCausalLM")
    if config.dtype is not None:
        return spec
    return msgspec.structs.replace(spec, config_dtype=_dtype(config), notes=(SILENT_DTYPE_NOTE,))


def _dtype(config: ConfigReader) -> str:
    return config.dtype or "bfloat16"


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GptOssModel. Class defaults: GptOssConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2880)
    layers = config.layers("num_hidden_layers", class_default=36)
    vocab = config.core("vocab_size", class_default=201088)
    ffn = config.core("intermediate_size", class_default=2880)
    heads = read_heads(config, hidden, heads=64, kv_heads=8, head_dim=64)
    bias = config.flag("attention_bias", default=True)
    mlp = experts_of(config, "num_local_experts", "num_experts", per_token=4, experts=128, ffn_dim=ffn)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.parameter("self_attn.sinks", (heads.query,), part="attention")
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    layer.parameter("mlp.router.weight", (mlp.experts, hidden), part="router")
    layer.parameter("mlp.router.bias", (mlp.experts,), part="router")
    experts, active = layer.at("mlp.experts"), mlp.experts_per_token
    experts.parameter("gate_up_proj", (mlp.experts, hidden, 2 * ffn), part="experts", active=active, inputs_first=True)
    experts.parameter("gate_up_proj_bias", (mlp.experts, 2 * ffn), part="experts", active=active)
    experts.parameter("down_proj", (mlp.experts, ffn, hidden), part="experts", active=active, inputs_first=True)
    experts.parameter("down_proj_bias", (mlp.experts, hidden), part="experts", active=active)
    # In _keep_in_fp32_modules: float32 beside float16.
    kept = tensors.at("", dtype="float32" if _dtype(config) == "float16" else None)
    kept.at("layers.*", count=layers).norm("input_layernorm", hidden)
    kept.at("layers.*", count=layers).norm("post_attention_layernorm", hidden)
    kept.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    window = config.size("sliding_window", default=128, null=0) or None
    alternating = ["full_attention" if layer_id % 2 else "sliding_attention" for layer_id in range(layers)]
    windows = windows_of(config, layers, window, default=alternating)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, w), mlp) for w in windows]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
    )
