"""RWKV-5 World: a matrix of state per head, and a gate on what the heads give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal_lm, float32_in_half, stack_of
from fmkit.model.recurrent import RwkvMatrix
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("rwkv5",)
NOTE = (
    "transformers 5.23 has no class of this type: names and shapes follow the repository's code, which gives the published total at the "
    "sizes of rwkv-5-world-1b5"
)
TIED_NOTE = "the config ties the head to the embedding; RWKV's own weights keep two matrices, and both are counted"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an RWKV-5 config."""
    return causal_lm(config, text_model, default_class="RwkvForCausalLM", prefix="rwkv")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Rwkv5Model of the repository; 1,577,754,624 parameters at the sizes of rwkv-5-world-1b5, as published.

    The feed-forward is 3.5 times as wide, rounded down to whole 32s, whatever `intermediate_size` says: the class sets
    it to null.
    """
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=24)
    vocab, dim = config.size("vocab_size"), config.size("head_size", default=64)
    heads = config.divide("hidden_size", hidden, "head_size", dim)
    width = config.size("attention_hidden_size", default=hidden, null=hidden)
    if width != hidden:
        raise config.wrong("attention_hidden_size", f"hidden_size ({hidden})", width)
    ffn = hidden * 7 // 2 // 32 * 32
    tensors.embedding("embeddings", vocab, hidden)
    tensors.at("blocks.*").norm("pre_ln", hidden, bias=True)
    layer = tensors.at("blocks.*", count=layers)
    layer.norm("ln1", hidden, bias=True)
    layer.norm("ln2", hidden, bias=True)
    layer.at("attention", dtype=float32_in_half(config)).parameter("time_decay", (heads, dim), part="state")
    layer.parameter("attention.time_faaaa", (heads, dim), part="state")
    for name in ("gate", "key", "value", "receptance"):
        layer.parameter(f"attention.time_mix_{name}", (1, 1, hidden), part="state")
        layer.linear(f"attention.{name}", hidden, hidden, part="state")
    layer.linear("attention.output", hidden, hidden, part="state")
    layer.norm("attention.ln_x", hidden, bias=True)
    for name in ("key", "receptance"):
        layer.parameter(f"feed_forward.time_mix_{name}", (1, 1, hidden), part="mlp")
    layer.linear("feed_forward.key", ffn, hidden, part="mlp")
    layer.linear("feed_forward.receptance", hidden, hidden, part="mlp")
    layer.linear("feed_forward.value", hidden, ffn, part="mlp")
    tensors.norm("ln_out", hidden, bias=True)
    mixer = RwkvMatrix(hidden_dim=hidden, heads=heads, key_dim=dim, value_dim=dim)
    ties = config.flag("tie_word_embeddings", default=False)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("context_length"),
        tied=False,
        positions="none",
        head_name="head",
        kind="state-space",
        notes=(NOTE, *((TIED_NOTE,) if ties else ())),
    )
