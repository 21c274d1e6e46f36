"""A decoder of a type that no lineage knows, sized by its fields where they say everything; refused where they don't.

What counts as everything: hidden and feed-forward widths, layers, heads and key heads, vocabulary, whether the
feed-forward is gated, whether the head is tied. A field that points at something else (experts, states, other towers,
compressed keys) is a refusal that names it: nothing is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.errors import ArchitectureUnknownError, nearest_phrase
from fmkit.model.architectures.decoder import (
    TextModel,
    attention_tensors,
    causal,
    causal_lm,
    gated_mlp_tensors,
    read_heads,
    rope_limit,
    stack_of,
    windows_of,
)
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

NEEDED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "hidden_act",
    "tie_word_embeddings",
)
"""Fields without which a decoder can't be sized."""
OTHER_SHAPES = (
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "moe_intermediate_size",
    "num_experts_per_tok", "kv_lora_rank", "q_lora_rank", "linear_attn_config", "sparse_attention_config",
    "hybrid_override_pattern", "layers_block_type", "block_configs", "attn_layer_indices", "ssm_state_size", "state_size",
    "mamba_d_state", "conv_kernel", "conv_L_cache", "linear_num_key_heads", "num_kv_shared_layers", "text_config",
    "vision_config", "audio_config", "img_processor", "language_config", "encoder_layers", "decoder_layers",
    "cross_attention_layers", "attention_chunk_size", "compress_ratios", "index_head_dim", "word_embed_proj_dim",
)  # fmt: skip
"""Fields that say that a model is more than a plain decoder."""
GATED = ("silu", "swish", "swiglu", "geglu")
"""Activations that in a decoder with these fields stand for a gate (SwiGLU, GeGLU)."""


def read(config: ConfigReader, known: Iterable[str]) -> ModelSpec:
    """The spec of a decoder whose fields say everything; `known` are the types that have a reader."""
    model_type = str(config.model_type)[:60]
    start = f"model_type {model_type!r} is not known{nearest_phrase(model_type, sorted(known))}"
    other = next((name for name in OTHER_SHAPES if config.has(name)), None)
    if other is not None:
        raise _refusal(config, f"{start}; it is no plain decoder: {other} is set")
    if config.flag("is_encoder_decoder", default=False):
        raise _refusal(config, f"{start}; it is no plain decoder: is_encoder_decoder is set")
    missing = [name for name in NEEDED if not config.has(name)]
    if missing:
        raise _refusal(config, f"{start}, and its config.json lacks {', '.join(missing)}")
    if config.optional_text("hidden_act") not in GATED:
        raise _refusal(config, f"{start}; whether its feed-forward is gated does not follow from hidden_act")
    if not (config.class_name or "ForCausalLM").endswith("ForCausalLM"):
        raise _refusal(config, f"{start}, nor is its class {str(config.class_name)[:60]!r}")
    spec = causal_lm(config, text_model, default_class="ForCausalLM")
    return msgspec.structs.replace(spec, notes=(*spec.notes, *_notes(model_type)))


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """A decoder of Llama's shape, all its sizes stated."""
    hidden, vocab, ffn = config.size("hidden_size"), config.size("vocab_size"), config.size("intermediate_size")
    layers = config.layers("num_hidden_layers", class_default=1)
    heads = read_heads(config, hidden, heads=1)
    bias = config.flag("attention_bias", default=False)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    attention_tensors(layer, hidden, heads, bias=bias, output_bias=bias)
    gated_mlp_tensors(layer, hidden, ffn, bias=config.flag("mlp_bias", default=False))
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    tensors.norm("norm", hidden)
    mlp = Mlp(ffn_dim=ffn, gated=True)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, window), mlp) for window in _windows(config, layers)]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=1),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """The window of each layer: a stated window must come with `layer_types`, or with a flag that it is not used."""
    window = config.optional_size("sliding_window")
    if config.has("layer_types"):
        return windows_of(config, layers, window)
    if window is None or not config.flag("use_sliding_window", default=True):
        return [None] * layers
    raise config.missing("layer_types (which layers have the sliding_window)")


def _refusal(config: ConfigReader, message: str) -> ArchitectureUnknownError:
    return ArchitectureUnknownError(message, where=config.where, next_command="fmkit catalog list")


def _notes(model_type: str) -> tuple[str, ...]:
    shape = "a decoder of Llama's shape (two norms a layer, no norms of queries and keys)"
    return (
        f"model_type {model_type!r} is not known: sized from its fields as {shape}; biases and norms may differ by 0.1 %",
    )
