"""Mamba and Falcon-Mamba: state-space layers, whose state is the same at any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures.decoder import TextModel, causal_lm, stack_of
from fmkit.model.recurrent import StateSpace

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("mamba", "falcon_mamba")


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Mamba config."""
    default = "FalconMambaForCausalLM" if config.model_type == "falcon_mamba" else "MambaForCausalLM"
    spec = causal_lm(config, text_model, default_class=default, prefix="backbone")
    return msgspec.structs.replace(spec, kind="state-space")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MambaModel. Class defaults: MambaConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=50280)
    state = _state(config, hidden)
    tensors.embedding("embeddings", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("norm", hidden)
    _mixer_tensors(config, layer.at("mixer"), hidden, state)
    tensors.norm("norm_f", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(state, None)] * layers),
        vocab_size=vocab,
        max_context_tokens=None,
        positions="none",
        tied=config.flag("tie_word_embeddings", default=True),
        notes=("no longest context: the state has one size at any length",),
    )


def _state(config: ConfigReader, hidden: int) -> StateSpace:
    """The state; `intermediate_size` counts before `expand`, as in transformers 5.23 (Falcon-Mamba says expand 16)."""
    inner = config.optional_size("intermediate_size") or int(config.number("expand", 2.0) * hidden)
    if inner < 1:
        raise config.wrong("expand", "a number that leaves at least one inner dimension", inner)
    auto = config.optional_text("time_step_rank") if not config.is_whole("time_step_rank") else None
    rank = -(-hidden // 16) if auto == "auto" else config.size("time_step_rank", default=-(-hidden // 16))
    return StateSpace(
        inner_dim=inner,
        state_dim=config.size("state_size", default=16),
        conv_kernel=config.size("conv_kernel", default=4),
        dt_rank=rank,
    )


def _mixer_tensors(config: ConfigReader, mixer: Tensors, hidden: int, state: StateSpace) -> None:
    inner, bias = state.inner_dim, config.flag("use_bias", default=False)
    mixer.parameter("A_log", (inner, state.state_dim), part="state")
    mixer.parameter("D", (inner,), part="state")
    conv_bias = config.flag("use_conv_bias", default=True)
    mixer.conv("conv1d", (inner, 1, state.conv_kernel), bias=conv_bias, part="state")
    mixer.linear("in_proj", 2 * inner, hidden, bias=bias, part="state")
    mixer.linear("x_proj", state.dt_rank + 2 * state.state_dim, inner, part="state")
    mixer.linear("dt_proj", inner, state.dt_rank, bias=True, part="state")
    mixer.linear("out_proj", hidden, inner, bias=bias, part="state")
    if config.model_type == "falcon_mamba":
        for name, width in (("dt", inner), ("b", state.state_dim), ("c", state.state_dim)):
            mixer.buffer(f"{name}_layernorm.weight", (width,), dtype=None)
