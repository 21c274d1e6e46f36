"""ChatGLM 2 and 3, GLM-4 (chatglm): two key heads, fused projections, an untied output layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("chatglm",)
LOADED_CLASS = "ChatGLMForConditionalGeneration"
"""What the repository's auto_map loads for generation; `architectures` says ChatGLMModel."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a ChatGLM config."""
    spec = causal_lm(config, text_model, default_class="", class_name="ChatGLMForCausalLM", prefix="transformer")
    return msgspec.structs.replace(spec, architecture=LOADED_CLASS)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """ChatGLMModel of the repository; 6,243,584,000 parameters for ChatGLM3-6B, as published."""
    hidden, layers = config.size("hidden_size"), config.layers("num_layers", class_default=28)
    vocab, ffn = config.size("padded_vocab_size"), config.size("ffn_hidden_size")
    query, dim = config.size("num_attention_heads"), config.size("kv_channels")
    kv = query
    if config.flag("multi_query_attention", default=False):
        kv = config.size("multi_query_group_num")
    bias = config.flag("add_bias_linear", default=False)
    qkv_bias = bias or config.flag("add_qkv_bias", default=False)
    tensors.embedding("embedding.word_embeddings", vocab, hidden)
    tensors.buffer("rotary_pos_emb.inv_freq", (max(1, dim // 4),), dtype=None)
    layer = tensors.at("encoder.layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    fused = (query + 2 * kv) * dim
    layer.linear("self_attention.query_key_value", fused, hidden, bias=qkv_bias, part="attention")
    layer.linear("self_attention.dense", hidden, query * dim, bias=bias, part="attention")
    layer.norm("post_attention_layernorm", hidden)
    layer.linear("mlp.dense_h_to_4h", 2 * ffn, hidden, bias=bias, part="mlp")
    layer.linear("mlp.dense_4h_to_h", hidden, ffn, bias=bias, part="mlp")
    if config.flag("post_layer_norm", default=True):
        tensors.norm("encoder.final_layernorm", hidden)
    heads, mlp = Heads(query=query, kv=kv, dim=dim), Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("seq_length"),
        tied=config.flag("tie_word_embeddings", default=False),
        head_name="transformer.output_layer",
        notes=(NOTE,),
    )
