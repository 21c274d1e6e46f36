"""MPT: one fused projection, norms without biases, ALiBi in place of positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mpt",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an MPT config."""
    return causal_lm(config, text_model, default_class="MptForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MptModel. Class defaults: MptConfig, transformers 5.23, whose feed-forward is always 4 x as wide."""
    hidden = config.core("d_model", "hidden_size", class_default=2048)
    layers = config.layers("n_layers", "num_hidden_layers", class_default=24)
    vocab = config.core("vocab_size", class_default=50368)
    query = config.core("n_heads", "num_attention_heads", class_default=16)
    heads = Heads(query=query, kv=query, dim=config.divide("d_model", hidden, "n_heads", query))
    tensors.embedding("wte", vocab, hidden)
    layer = tensors.at("blocks.*", count=layers)
    layer.norm("norm_1", hidden)
    layer.linear("attn.Wqkv", 3 * hidden, hidden, part="attention")
    layer.linear("attn.out_proj", hidden, hidden, part="attention")
    layer.norm("norm_2", hidden)
    layer.linear("ffn.up_proj", 4 * hidden, hidden, part="mlp")
    layer.linear("ffn.down_proj", hidden, 4 * hidden, part="mlp")
    tensors.norm("norm_f", hidden)
    mlp = Mlp(ffn_dim=4 * hidden, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=config.size("max_seq_len", default=2048),
        tied=config.flag("tie_word_embeddings", default=True),
        positions="alibi",
    )
