"""LFM2: gated short convolutions, with full attention in some layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    causal_lm,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.recurrent import ShortConvolution
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("lfm2",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of an LFM2 config."""
    return causal_lm(config, text_model, default_class="Lfm2ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Lfm2Model. Class defaults: Lfm2Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=2560)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=65536)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    mlp = Mlp(ffn_dim=_ffn_dim(config), gated=True)
    attends = _attending_layers(config, layers)
    convolution = ShortConvolution(hidden_dim=hidden, conv_kernel=config.size("conv_L_cache", default=3))
    tensors.embedding("embed_tokens", vocab, hidden)
    conv, bias = tensors.at("layers.*.conv", count=attends.count(False)), config.flag("conv_bias", default=False)
    conv.conv("conv", (hidden, 1, convolution.conv_kernel), bias=bias, part="state")
    conv.linear("in_proj", 3 * hidden, hidden, bias=bias, part="state")
    conv.linear("out_proj", hidden, hidden, bias=bias, part="state")
    _attention_tensors(tensors.at("layers.*.self_attn", count=attends.count(True)), hidden, heads)
    layer = tensors.at("layers.*", count=layers)
    layer.linear("feed_forward.w1", mlp.ffn_dim, hidden, part="mlp")
    layer.linear("feed_forward.w3", mlp.ffn_dim, hidden, part="mlp")
    layer.linear("feed_forward.w2", hidden, mlp.ffn_dim, part="mlp")
    layer.norm("operator_norm", hidden)
    layer.norm("ffn_norm", hidden)
    tensors.norm("embedding_norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    mixers: list[Mixer] = [causal(heads, None) if flag else convolution for flag in attends]
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, mlp) for mixer in mixers]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=128000),
        tied=config.flag("tie_embedding" if config.has("tie_embedding") else "tie_word_embeddings", default=True),
        kind="hybrid",
    )


def _ffn_dim(config: ConfigReader) -> int:
    """The width of the feed-forward: two thirds of the stated one, rounded up, where `block_auto_adjust_ff_dim` says so.

    12288 * 2 / 3 = 8192 for LFM2-1.2B. Source: Lfm2MLP, transformers 5.23.
    """
    stated = config.core("block_ff_dim", "intermediate_size", class_default=12288)
    if not config.flag("block_auto_adjust_ff_dim", default=True):
        return stated
    multiple = config.size("block_multiple_of", default=256)
    reduced = int(config.number("block_ffn_dim_multiplier", 1.0) * int(2 * stated / 3))
    return max(1, -(-reduced // multiple)) * multiple


def _attending_layers(config: ConfigReader, layers: int) -> list[bool]:
    types = config.texts("layer_types")
    if types is None:
        named = config.sizes("full_attn_idxs")
        return [named is None or layer in named for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    unknown = next((kind for kind in types if kind not in ("conv", "full_attention")), None)
    if unknown is not None:
        raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
    return [kind == "full_attention" for kind in types]


def _attention_tensors(attention: Tensors, hidden: int, heads: Heads) -> None:
    attention.linear("q_proj", heads.query * heads.dim, hidden, part="attention")
    attention.linear("k_proj", heads.kv * heads.dim, hidden, part="attention")
    attention.linear("v_proj", heads.kv * heads.dim, hidden, part="attention")
    attention.linear("out_proj", hidden, heads.query * heads.dim, part="attention")
    attention.norm("q_layernorm", heads.dim)
    attention.norm("k_layernorm", heads.dim)
