"""InternLM 2 and 2.5: a Llama with one fused projection and names of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal, causal_lm, read_heads, rope_limit, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("internlm2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an InternLM 2 config."""
    return causal_lm(config, text_model, default_class="InternLM2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """InternLM2Model of the repository; 7,737,708,544 parameters for InternLM2.5-7B, as published."""
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=32)
    vocab, ffn = config.size("vocab_size"), config.size("intermediate_size")
    heads, bias = read_heads(config, hidden, heads=32), config.flag("bias", default=False)
    tensors.embedding("tok_embeddings", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    fused = (heads.query + 2 * heads.kv) * heads.dim
    layer.linear("attention.wqkv", fused, hidden, bias=bias, part="attention")
    layer.linear("attention.wo", hidden, heads.query * heads.dim, bias=bias, part="attention")
    layer.linear("feed_forward.w1", ffn, hidden, part="mlp")
    layer.linear("feed_forward.w3", ffn, hidden, part="mlp")
    layer.linear("feed_forward.w2", hidden, ffn, part="mlp")
    layer.norm("attention_norm", hidden)
    layer.norm("ffn_norm", hidden)
    tensors.norm("norm", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=32768),
        tied=config.flag("tie_word_embeddings", default=False),
        head_name="output",
        notes=(NOTE,),
    )
