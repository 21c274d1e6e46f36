"""StableLM 2 and StableLM 3B: LayerNorms, a quarter of each head rotated."""

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
    rotary_dims,
    stack_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("stablelm",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a StableLm config."""
    return causal_lm(config, text_model, default_class="StableLmForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """StableLmModel. Class defaults: StableLmConfig, transformers 5.23."""
    if config.flag("qk_layernorm", default=False):
        raise config.unknown("StableLM with norms of its own in every head (qk_layernorm) is not understood")
    hidden = config.core("hidden_size", class_default=2560)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=50304)
    ffn = config.core("intermediate_size", class_default=6912)
    heads = read_heads(config, hidden, heads=32, kv_heads=32)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=config.flag("use_qkv_bias", default=False))
    gated_mlp_tensors(layer, hidden, ffn)
    layer.norm("input_layernorm", hidden, bias=True)
    if not config.flag("use_parallel_residual", default=False):
        layer.norm("post_attention_layernorm", hidden, bias=True)
    tensors.norm("norm", hidden, bias=True)
    rotary_buffers(tensors, rotary_dims(config, heads.dim, default=0.25))
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=4096),
        tied=config.flag("tie_word_embeddings", default=False),
    )
