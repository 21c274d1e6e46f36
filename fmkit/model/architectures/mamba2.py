"""Mamba 2: state-space layers with heads; alone, and as the state layers of the hybrids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import TextModel, causal_lm, stack_of
from fmkit.model.recurrent import Mamba2

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mamba2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Mamba 2 config."""
    return causal_lm(config, text_model, default_class="Mamba2ForCausalLM", prefix="backbone")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Mamba2Model. Class defaults: Mamba2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=64)
    vocab = config.core("vocab_size", class_default=32768)
    mixer = Mamba2(
        heads=config.core("num_heads", class_default=128),
        head_dim=config.core("head_dim", class_default=64),
        groups=config.size("n_groups", default=8),
        state_dim=config.size("state_size", default=128),
        conv_kernel=config.size("conv_kernel", default=4),
        chunk_tokens=config.size("chunk_size", default=256),
    )
    tensors.embedding("embeddings", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("norm", hidden)
    mamba2_tensors(
        layer.at("mixer"),
        hidden,
        mixer,
        bias=config.flag("use_bias", default=False),
        conv_bias=config.flag("use_conv_bias", default=True),
    )
    tensors.norm("norm_f", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, None)] * layers),
        vocab_size=vocab,
        max_context_tokens=None,
        positions="none",
        tied=config.flag("tie_word_embeddings", default=False),
        kind="state-space",
        notes=("no longest context: the state has one size at any length",),
    )


def mamba2_tensors(
    module: Tensors,
    hidden: int,
    mixer: Mamba2,
    *,
    bias: bool,
    conv_bias: bool,
    output_bias: bool | None = None,
    norm: bool = True,
) -> None:
    """A Mamba 2 mixer: one projection in (gate, inputs, states, steps), a convolution, a norm with a gate, one out."""
    for name in ("dt_bias", "A_log", "D"):
        module.parameter(name, (mixer.heads,), part="state")
    module.conv("conv1d", (mixer.conv_dim, 1, mixer.conv_kernel), bias=conv_bias, part="state")
    module.linear("in_proj", mixer.inner_dim + mixer.conv_dim + mixer.heads, hidden, bias=bias, part="state")
    if norm:
        module.norm("norm", mixer.inner_dim)
    out_bias = bias if output_bias is None else output_bias
    module.linear("out_proj", hidden, mixer.inner_dim, bias=out_bias, part="state")


def read_mamba2(config: ConfigReader, hidden: int, *, state_dim: int = 256, inner: int | None = None) -> Mamba2:
    """The state layer of a hybrid, under the names that Bamba, Falcon-H1 and Granite 4 share; class defaults of 5.23.

    `mamba_d_head` may be "auto": the inner width (`mamba_expand` x the hidden width) over the heads.
    """
    heads = config.size("mamba_n_heads", default=128)
    if inner is None:
        inner = int(config.number("mamba_expand", 2.0) * hidden)
    if config.is_whole("mamba_d_head"):
        head_dim = config.size("mamba_d_head")
    else:
        head_dim = config.divide("mamba_expand", inner, "mamba_n_heads", heads)
    return Mamba2(
        heads=heads,
        head_dim=max(1, head_dim),
        groups=config.size("mamba_n_groups", default=1),
        state_dim=config.size("mamba_d_state", default=state_dim),
        conv_kernel=config.size("mamba_d_conv", default=4),
        chunk_tokens=config.size("mamba_chunk_size", default=256),
    )
