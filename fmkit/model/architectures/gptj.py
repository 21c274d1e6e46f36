"""GPT-J: attention and feed-forward side by side, rotary tables in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("gptj",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a GPT-J config."""
    return causal_lm(config, text_model, default_class="GPTJForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GPTJModel. Class defaults: GPTJConfig, transformers 5.23."""
    hidden = config.core("n_embd", "hidden_size", class_default=4096)
    layers = config.layers("n_layer", "num_hidden_layers", class_default=28)
    vocab = config.core("vocab_size", class_default=50400)
    positions = config.core("n_positions", "max_position_embeddings", class_default=2048)
    query = config.core("n_head", "num_attention_heads", class_default=16)
    ffn = config.size("n_inner", default=4 * hidden, null=4 * hidden)
    rotated = config.size("rotary_dim", default=64, null=0) or hidden
    heads = Heads(query=query, kv=query, dim=config.divide("n_embd", hidden, "n_head", query))
    tensors.embedding("wte", vocab, hidden)
    layer = tensors.at("h.*", count=layers)
    layer.norm("ln_1", hidden, bias=True)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"attn.{name}", hidden, hidden, part="attention")
    layer.buffer("attn.embed_positions", (positions, rotated), dtype="float32")
    layer.linear("mlp.fc_in", ffn, hidden, bias=True, part="mlp")
    layer.linear("mlp.fc_out", hidden, ffn, bias=True, part="mlp")
    tensors.norm("ln_f", hidden, bias=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=positions,
        context_is_hard=True,
        tied=config.flag("tie_word_embeddings", default=False),
        head_bias=True,
    )
