"""MiniMax-Text-01: linear attention in seven of eight layers, experts in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    expert_tensors,
    experts_of,
    read_heads,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.recurrent import LinearAttention

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.decoder import Heads
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("minimax",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiniMax-Text-01 config."""
    return causal_lm(config, text_model, default_class="MiniMaxForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiniMaxModel. Class defaults: MiniMaxConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=32)
    vocab = config.core("vocab_size", class_default=32000)
    heads = read_heads(config, hidden, heads=32, kv_heads=8)
    ffn = config.core("intermediate_size", class_default=14336)
    mixture = experts_of(config, "num_local_experts", "num_experts", per_token=2, experts=8, ffn_dim=ffn)
    attends = _attending_layers(config, layers)
    tensors.embedding("embed_tokens", vocab, hidden)
    linear = tensors.at("layers.*.self_attn", count=attends.count(False))
    _linear_tensors(linear, hidden, heads, config.size("block_size", default=256))
    attention_tensors(tensors.at("layers.*", count=attends.count(True)), hidden, heads)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    expert_tensors(layer, hidden, mixture)
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, rotary_dims(config, heads.dim))
    state = LinearAttention(heads=heads.query, head_dim=heads.dim)
    mixers: list[Mixer] = [causal(heads, None) if flag else state for flag in attends]
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, mixture) for mixer in mixers]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=131072),
        tied=config.flag("tie_word_embeddings", default=False),
        kind="hybrid",
    )


def _attending_layers(config: ConfigReader, layers: int) -> list[bool]:
    types = config.texts("layer_types")
    if types is None:
        return [(layer + 1) % 2 == 1 for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    unknown = next((kind for kind in types if kind not in ("linear_attention", "full_attention")), None)
    if unknown is not None:
        raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
    return [kind == "full_attention" for kind in types]


def _linear_tensors(attention: Tensors, hidden: int, heads: Heads, block: int) -> None:
    width = heads.query * heads.dim
    attention.norm("norm", width)
    attention.linear("qkv_proj", 3 * width, hidden, part="attention")
    attention.linear("out_proj", hidden, width, part="attention")
    attention.linear("output_gate", width, hidden, part="attention")
    attention.buffer("slope_rate", (heads.query, 1, 1), dtype=None)
    attention.buffer("query_decay", (heads.query, block, 1), dtype=None)
    attention.buffer("key_decay", (heads.query, block, 1), dtype=None)
    attention.buffer("diagonal_decay", (1, heads.query, block, block), dtype=None)
