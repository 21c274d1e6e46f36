"""Jamba: Mamba with full attention in every eighth layer, experts in every second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    gated_mlp_tensors,
    read_heads,
    stack_of,
)
from fmkit.model.recurrent import StateSpace
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("jamba",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Jamba config."""
    return causal_lm(config, text_model, default_class="JambaForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """JambaModel. Class defaults: JambaConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=65536)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    state, mixture = _state(config, hidden), _mixture(config)
    dense = Mlp(ffn_dim=mixture.ffn_dim, gated=True)
    attends = _every(config, layers, "attn_layer", period=8, offset=4)
    sparse = [flag and mixture.experts > 1 for flag in _every(config, layers, "expert_layer", period=2, offset=1)]
    tensors.embedding("embed_tokens", vocab, hidden)
    _state_tensors(config, tensors.at("layers.*", count=attends.count(False)).at("mamba"), hidden, state)
    attention_tensors(tensors.at("layers.*", count=attends.count(True)), hidden, heads)
    gated_mlp_tensors(tensors.at("layers.*", count=sparse.count(False)), hidden, dense.ffn_dim, name="feed_forward")
    _expert_tensors(tensors.at("layers.*", count=sparse.count(True)).at("feed_forward"), hidden, mixture)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("pre_ff_layernorm", hidden)
    tensors.norm("final_layernorm", hidden)
    mixers: list[Mixer] = [causal(heads, None) if flag else state for flag in attends]
    mlps = [mixture if flag else dense for flag in sparse]
    return TextModel(
        stack=stack_of("decoder", hidden, zip(mixers, mlps, strict=True)),
        vocab_size=vocab,
        max_context_tokens=config.optional_size("max_position_embeddings"),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="none",
        kind="hybrid",
    )


def _every(config: ConfigReader, layers: int, name: str, *, period: int, offset: int) -> list[bool]:
    step = config.size(f"{name}_period", default=period)
    first = config.size(f"{name}_offset", default=offset, minimum=0)
    return [layer % step == first for layer in range(layers)]


def _state(config: ConfigReader, hidden: int) -> StateSpace:
    auto = not config.is_whole("mamba_dt_rank")
    inner = int(config.number("mamba_expand", 2.0) * hidden)
    if inner < 1:
        raise config.wrong("mamba_expand", "a number that leaves at least one inner dimension", inner)
    return StateSpace(
        inner_dim=inner,
        state_dim=config.size("mamba_d_state", default=16),
        conv_kernel=config.size("mamba_d_conv", default=4),
        dt_rank=-(-hidden // 16) if auto else config.size("mamba_dt_rank"),
    )


def _mixture(config: ConfigReader) -> Mlp:
    experts, active = config.size("num_experts", default=16), config.size("num_experts_per_tok", default=2)
    if active > experts:
        raise config.wrong("num_experts_per_tok", f"at most the {experts} experts", active)
    ffn = config.core("intermediate_size", class_default=14336)
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active)


def _state_tensors(config: ConfigReader, module: Tensors, hidden: int, state: StateSpace) -> None:
    inner, bias = state.inner_dim, config.flag("mamba_proj_bias", default=False)
    module.parameter("A_log", (inner, state.state_dim), part="state")
    module.parameter("D", (inner,), part="state")
    conv_bias = config.flag("mamba_conv_bias", default=True)
    module.conv("conv1d", (inner, 1, state.conv_kernel), bias=conv_bias, part="state")
    module.linear("in_proj", 2 * inner, hidden, bias=bias, part="state")
    module.linear("x_proj", state.dt_rank + 2 * state.state_dim, inner, part="state")
    module.linear("dt_proj", inner, state.dt_rank, bias=True, part="state")
    module.linear("out_proj", hidden, inner, bias=bias, part="state")
    for name, width in (("dt", state.dt_rank), ("b", state.state_dim), ("c", state.state_dim)):
        module.norm(f"{name}_layernorm", width)


def _expert_tensors(module: Tensors, hidden: int, mixture: Mlp) -> None:
    active = mixture.experts_per_token
    module.parameter("router.weight", (mixture.experts, hidden), part="router")
    shape_in, shape_out = (mixture.experts, 2 * mixture.ffn_dim, hidden), (mixture.experts, hidden, mixture.ffn_dim)
    module.parameter("experts.gate_up_proj", shape_in, part="experts", active=active)
    module.parameter("experts.down_proj", shape_out, part="experts", active=active)
