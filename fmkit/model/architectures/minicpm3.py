"""MiniCPM 3: a dense decoder with latent attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal_lm,
    gated_mlp_tensors,
    rope_limit,
    rotary_buffers,
    stack_of,
)
from fmkit.model.architectures.deepseek import latent_tensors
from fmkit.model.attention import LatentAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("minicpm3",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiniCPM 3 config."""
    return causal_lm(config, text_model, default_class="MiniCPM3ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiniCPM3Model. Class defaults: MiniCPM3Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2560)
    layers = config.layers("num_hidden_layers", class_default=62)
    vocab = config.core("vocab_size", class_default=73448)
    ffn = config.core("intermediate_size", class_default=6400)
    query = config.core("num_attention_heads", class_default=40)
    attention = LatentAttention(
        query_heads=query,
        latent_dim=config.size("kv_lora_rank", default=256),
        rope_dim=config.size("qk_rope_head_dim", default=32),
        nope_dim=config.size("qk_nope_head_dim", default=64),
        value_dim=config.optional_size("v_head_dim")
        or config.divide("hidden_size", hidden, "num_attention_heads", query),
        query_latent_dim=config.size("q_lora_rank", default=768, null=0) or None,
    )
    tensors.embedding("embed_tokens", vocab, hidden)
    tensors.buffer("embed_tokens.embed_scale", (), dtype="int64")
    layer = tensors.at("layers.*", count=layers)
    latent_tensors(config, layer, hidden, attention)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False))
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, attention.rope_dim)
    return TextModel(
        stack=stack_of("decoder", hidden, [(attention, Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=True),
    )
