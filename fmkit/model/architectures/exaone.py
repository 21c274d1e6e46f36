"""EXAONE 3 and 3.5: a Llama with GPT-2's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    causal_lm,
    read_heads,
    rope_limit,
    stack_of,
)
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("exaone",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an EXAONE 3 config."""
    return causal_lm(config, text_model, default_class="ExaoneForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """ExaoneModel of the repository; 7,818,448,896 parameters for EXAONE-3.5-7.8B, as published."""
    hidden, layers = config.size("hidden_size"), config.layers("num_layers", "num_hidden_layers", class_default=32)
    vocab, ffn = config.size("vocab_size"), config.size("intermediate_size")
    heads = read_heads(config, hidden, heads=32)
    tensors.embedding("wte", vocab, hidden)
    layer = tensors.at("h.*", count=layers)
    layer.norm("ln_1", hidden)
    attention = layer.at("attn.attention")
    attention.linear("q_proj", heads.query * heads.dim, hidden, part="attention")
    attention.linear("k_proj", heads.kv * heads.dim, hidden, part="attention")
    attention.linear("v_proj", heads.kv * heads.dim, hidden, part="attention")
    attention.linear("out_proj", hidden, heads.query * heads.dim, part="attention")
    layer.norm("ln_2", hidden)
    layer.linear("mlp.c_fc_0", ffn, hidden, part="mlp")
    layer.linear("mlp.c_fc_1", ffn, hidden, part="mlp")
    layer.linear("mlp.c_proj", hidden, ffn, part="mlp")
    tensors.norm("ln_f", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=(NOTE,),
    )
