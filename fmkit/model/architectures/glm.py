"""GLM-4 9B: half of each head rotated, a fused gate; GLM-4-0414 (glm4) has two norms more a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("glm", "glm4")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Glm config."""
    default = "Glm4ForCausalLM" if config.model_type == "glm4" else "GlmForCausalLM"
    return causal_lm(config, text_model, default_class=default)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GlmModel or Glm4Model. Class defaults: GlmConfig and Glm4Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=40)
    vocab = config.core("vocab_size", class_default=151552)
    ffn = config.core("intermediate_size", class_default=13696)
    heads = read_heads(config, hidden, heads=32, kv_heads=2, head_dim=128)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=config.flag("attention_bias", default=True))
    layer.linear("mlp.gate_up_proj", 2 * ffn, hidden, part="mlp")
    layer.linear("mlp.down_proj", hidden, ffn, part="mlp")
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    if config.model_type == "glm4":
        layer.norm("post_self_attn_layernorm", hidden)
        layer.norm("post_mlp_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim, default=0.5))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
    )
