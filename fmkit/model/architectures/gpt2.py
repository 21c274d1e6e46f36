"""GPT-2 and DistilGPT2: learned positions, transposed linear layers (Conv1D), a tied head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gpt2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a GPT-2 config."""
    return causal_lm(config, text_model, default_class="GPT2LMHeadModel", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GPT2Model. Class defaults: GPT2Config, transformers 5.23."""
    if config.flag("add_cross_attention", default=False):
        raise config.unknown("GPT-2 with cross-attention is not understood")
    hidden = config.core("n_embd", "hidden_size", class_default=768)
    layers = config.layers("n_layer", "num_hidden_layers", class_default=12)
    query = config.core("n_head", "num_attention_heads", class_default=12)
    positions = config.core("n_positions", "max_position_embeddings", class_default=1024)
    vocab = config.core("vocab_size", class_default=50257)
    ffn = config.optional_size("n_inner") or 4 * hidden
    heads = Heads(query=query, kv=query, dim=config.divide("n_embd", hidden, "n_head", query))
    tensors.embedding("wte", vocab, hidden)
    tensors.embedding("wpe", positions, hidden)
    layer = tensors.at("h.*", count=layers)
    layer.norm("ln_1", hidden, bias=True)
    layer.conv1d("attn.c_attn", hidden, 3 * hidden, part="attention")
    layer.conv1d("attn.c_proj", hidden, hidden, part="attention")
    layer.norm("ln_2", hidden, bias=True)
    layer.conv1d("mlp.c_fc", hidden, ffn, part="mlp")
    layer.conv1d("mlp.c_proj", ffn, hidden, part="mlp")
    tensors.norm("ln_f", hidden, bias=True)
    mlp = Mlp(ffn_dim=ffn, gated=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=positions,
        context_is_hard=True,
        positions="learned",
        tied=config.flag("tie_word_embeddings", default=True),
    )
