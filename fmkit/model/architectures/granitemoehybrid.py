"""Granite 4: Mamba 2 and full attention, one feed-forward for every token, and experts where there are any.

The class is named for its experts also where a config has none (`num_local_experts` 0), and for Mamba also where all
layers attend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.mamba2 import mamba2_tensors, read_mamba2
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("granitemoehybrid",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Granite 4 config."""
    return causal_lm(config, text_model, default_class="GraniteMoeHybridForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """GraniteMoeHybridModel. Class defaults: GraniteMoeHybridConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32000)
    heads = read_heads(config, hidden, heads=32)
    attends, mlp = _attending_layers(config, layers), _feed_forward(config)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    _feed_forward_tensors(layer, hidden, mlp)
    bias = config.flag("attention_bias", default=False)
    attention_tensors(tensors.at("layers.*", count=attends.count(True)), hidden, heads, bias=bias, output_bias=bias)
    mixers: list[Mixer] = [causal(heads, None)] * attends.count(True)
    if not all(attends):
        state = read_mamba2(config, hidden)
        mamba2_tensors(
            tensors.at("layers.*", count=attends.count(False)).at("mamba"),
            hidden,
            state,
            bias=config.flag("mamba_proj_bias", default=False),
            conv_bias=config.flag("mamba_conv_bias", default=True),
        )
        mixers += [state] * attends.count(False)
    tensors.norm("norm", hidden)
    rotary = config.optional_text("position_embedding_type") == "rope"
    if rotary:
        rotary_buffers(tensors, rotary_dims(config, heads.dim))
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, mlp) for mixer in mixers]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
        positions="rope" if rotary else "none",
        kind="decoder" if all(attends) else "hybrid",
    )


def _attending_layers(config: ConfigReader, layers: int) -> list[bool]:
    types = config.texts("layer_types")
    if types is None:
        return [False] * layers
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    known = {"attention": True, "full_attention": True, "mamba": False, "linear_attention": False}
    unknown = next((kind for kind in types if kind not in known), None)
    if unknown is not None:
        raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
    return [known[kind] for kind in types]


def _feed_forward(config: ConfigReader) -> Mlp:
    shared = config.size("shared_intermediate_size", default=1024)
    experts = config.size("num_local_experts", default=8, null=0, minimum=0)
    if not experts:
        return Mlp(ffn_dim=shared, gated=True)
    active = config.size("num_experts_per_tok", default=2)
    if active > experts:
        raise config.wrong("num_experts_per_tok", f"at most the {experts} experts", active)
    ffn = config.core("intermediate_size", class_default=11008)
    return Mlp(ffn_dim=ffn, gated=True, experts=experts, experts_per_token=active, shared_ffn_dim=shared)


def _feed_forward_tensors(layer: Tensors, hidden: int, mlp: Mlp) -> None:
    shared = mlp.shared_ffn_dim or mlp.ffn_dim
    layer.linear("shared_mlp.input_linear", 2 * shared, hidden, part="mlp")
    layer.linear("shared_mlp.output_linear", hidden, shared, part="mlp")
    if mlp.experts:
        moe = layer.at("block_sparse_moe")
        moe.parameter("router.weight", (mlp.experts, hidden), part="router")
        shape_in, shape_out = (mlp.experts, 2 * mlp.ffn_dim, hidden), (mlp.experts, hidden, mlp.ffn_dim)
        moe.parameter("experts.gate_up_proj", shape_in, part="experts", active=mlp.experts_per_token)
        moe.parameter("experts.down_proj", shape_out, part="experts", active=mlp.experts_per_token)
