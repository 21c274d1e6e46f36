"""RWKV-7 Goose, as flash-linear-attention has it: a matrix of state per head, decays and gates of low rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal_lm, stack_of
from fmkit.model.architectures.remote import NOTE
from fmkit.model.recurrent import RwkvMatrix
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("rwkv7",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an RWKV-7 config."""
    return causal_lm(config, text_model, default_class="RWKV7ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """RWKV7Model of flash-linear-attention 0.6; 191,034,624 parameters for RWKV7-Goose-World2.8-0.1B, as published.

    Layers of plain attention among them (`attn`) and values wider than the model (`value_dim`) are refused.
    """
    for name in ("attn", "value_dim"):
        if config.has(name):
            raise config.unknown(f"{name} is set, which is not understood")
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=24)
    vocab, dim = config.size("vocab_size"), config.size("head_dim", default=64)
    heads = config.divide("hidden_size", hidden, "head_dim", dim)
    ratio = int(hidden * config.number("hidden_ratio", 4.0))
    ffn = config.optional_size("intermediate_size") or (ratio + 31) // 32 * 32
    bias = config.flag("norm_bias", default=True)
    tensors.embedding("embeddings", vocab, hidden)
    if config.flag("norm_first", default=True):
        tensors.at("layers.*").norm("pre_norm", hidden, bias=bias)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("attn_norm", hidden, bias=bias)
    _mixing_tensors(config, layer.at("attn"), hidden, heads, dim)
    # The first layer's values are what later ones mix theirs with: it has no such mix itself.
    _low_rank(tensors.at("layers.*.attn", count=layers - 1), "v_lora", hidden, config.size("v_low_rank_dim"), bias=True)
    layer.norm("ffn_norm", hidden, bias=bias)
    layer.parameter("ffn.x_k", (hidden,), part="mlp")
    layer.linear("ffn.key", ffn, hidden, part="mlp")
    layer.linear("ffn.value", hidden, ffn, part="mlp")
    tensors.norm("norm", hidden, bias=bias)
    mixer = RwkvMatrix(hidden_dim=hidden, heads=heads, key_dim=dim, value_dim=dim)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("max_position_embeddings"),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="none",
        kind="state-space",
        notes=(NOTE,),
    )


def _mixing_tensors(config: ConfigReader, attention: Tensors, hidden: int, heads: int, dim: int) -> None:
    for name in ("r", "w", "k", "v", "a", "g"):
        attention.parameter(f"x_{name}", (1, 1, hidden), part="state")
    attention.parameter("k_k", (hidden,), part="state")
    attention.parameter("k_a", (hidden,), part="state")
    attention.parameter("r_k", (heads, dim), part="state")
    for name in ("r_proj", "k_proj", "v_proj", "o_proj"):
        attention.linear(name, hidden, hidden, part="state")
    _low_rank(attention, "w_lora", hidden, config.size("decay_low_rank_dim"), bias=True)
    _low_rank(attention, "a_lora", hidden, config.size("a_low_rank_dim"), bias=True)
    _low_rank(attention, "g_lora", hidden, config.size("gate_low_rank_dim"), bias=False)
    attention.norm("g_norm", hidden, bias=True)


def _low_rank(attention: Tensors, name: str, hidden: int, rank: int, *, bias: bool) -> None:
    """Two matrices in place of one, with a bias on the second."""
    attention.linear(f"{name}.lora.0", rank, hidden, part="state")
    attention.linear(f"{name}.lora.2", hidden, rank, bias=bias, part="state")
