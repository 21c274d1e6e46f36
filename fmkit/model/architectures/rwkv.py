"""RWKV-4: no attention, a state of fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal_lm, float32_in_half, stack_of
from fmkit.model.recurrent import Rwkv
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("rwkv",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an RWKV-4 config."""
    return causal_lm(config, text_model, default_class="RwkvForCausalLM", prefix="rwkv")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """RwkvModel. Class defaults: RwkvConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=50277)
    width = config.size("attention_hidden_size", default=hidden, null=hidden)
    ffn = config.size("intermediate_size", default=4 * hidden, null=4 * hidden)
    tensors.embedding("embeddings", vocab, hidden)
    tensors.at("blocks.*").norm("pre_ln", hidden, bias=True)
    layer = tensors.at("blocks.*", count=layers)
    layer.norm("ln1", hidden, bias=True)
    layer.norm("ln2", hidden, bias=True)
    kept = layer.at("attention", dtype=float32_in_half(config))
    kept.parameter("time_decay", (width,), part="state")
    kept.parameter("time_first", (width,), part="state")
    for name in ("key", "value", "receptance"):
        layer.parameter(f"attention.time_mix_{name}", (1, 1, hidden), part="state")
        layer.linear(f"attention.{name}", width, hidden, part="state")
    layer.linear("attention.output", hidden, width, part="state")
    layer.parameter("feed_forward.time_mix_key", (1, 1, hidden), part="mlp")
    layer.parameter("feed_forward.time_mix_receptance", (1, 1, hidden), part="mlp")
    layer.linear("feed_forward.key", ffn, hidden, part="mlp")
    layer.linear("feed_forward.receptance", hidden, hidden, part="mlp")
    layer.linear("feed_forward.value", hidden, ffn, part="mlp")
    tensors.norm("ln_out", hidden, bias=True)
    mixer = Rwkv(hidden_dim=hidden, attention_dim=width)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, Mlp(ffn_dim=ffn, gated=False))] * layers),
        vocab_size=vocab,
        max_context_tokens=config.size("context_length", default=1024),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="none",
        head_name="head",
        kind="state-space",
    )
