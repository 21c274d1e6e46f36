"""ModernBERT: rotary positions, gated feed-forwards, and a local window in two of three layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import labels_of, rotary_buffers, stack_of
from fmkit.model.architectures.encoder import EncoderModel, encoder_spec, read_shape
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.architectures.encoder import EncoderShape, Head
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("modernbert",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a ModernBERT config."""
    return encoder_spec(config, _build, default_class="ModernBertModel")


def _build(config: ConfigReader, tensors: Tensors, head: Head) -> EncoderModel:
    """ModernBertModel with its head. Class defaults: ModernBertConfig, transformers 5.23."""
    shape = read_shape(config, vocab=50368, layers=22, ffn=1152)
    hidden, norm_bias = shape.hidden_dim, config.flag("norm_bias", default=False)
    model = tensors.at("" if head == "none" else "model")
    model.embedding("embeddings.tok_embeddings", shape.vocab_size, hidden)
    model.norm("embeddings.norm", hidden, bias=norm_bias)
    _layers(config, model, shape, norm_bias=norm_bias)
    model.norm("final_norm", hidden, bias=norm_bias)
    dim = config.divide("hidden_size", hidden, "num_attention_heads", shape.heads)
    windows = _windows(config, shape.layers)
    for kind, there in (("full", None in windows), ("sliding", any(windows))):
        if there:
            rotary_buffers(model, dim, prefix=f"{kind}_attention_")
    tied = config.flag("tie_word_embeddings", default=True)
    if head != "none":
        tensors.linear(
            "head.dense", hidden, hidden, bias=config.flag("classifier_bias", default=False), part="projector"
        )
        tensors.norm("head.norm", hidden, bias=norm_bias)
    _head(config, tensors, shape, head, tied=tied)
    attentions = [
        EncoderAttention(
            query_heads=shape.heads, kv_heads=shape.heads, key_dim=dim, value_dim=dim, window_tokens=window
        )
        for window in windows
    ]
    mlp = Mlp(ffn_dim=shape.ffn_dim, gated=True)
    stack = stack_of("encoder", hidden, [(attention, mlp) for attention in attentions], max_tokens=shape.position_rows)
    return EncoderModel(
        stack=stack,
        vocab_size=shape.vocab_size,
        max_tokens=shape.position_rows,
        tied=tied,
        positions="rope",
        context_is_hard=False,
    )


def _windows(config: ConfigReader, layers: int) -> list[int | None]:
    """`local_attention` tokens, both sides together, except in every third layer (`global_attn_every_n_layers`)."""
    window = config.size("local_attention", default=128)
    types = config.texts("layer_types")
    if types is None:
        interval = config.size("global_attn_every_n_layers", default=3)
        return [None if layer % interval == 0 else window for layer in range(layers)]
    if len(types) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(types)} items")
    return [window if kind == "sliding_attention" else None for kind in types]


def _layers(config: ConfigReader, model: Tensors, shape: EncoderShape, *, norm_bias: bool) -> None:
    layer, hidden = model.at("layers.*", count=shape.layers), shape.hidden_dim
    bias = config.flag("attention_bias", default=False)
    layer.linear("attn.Wqkv", 3 * hidden, hidden, bias=bias, part="attention")
    layer.linear("attn.Wo", hidden, hidden, bias=bias, part="attention")
    layer.norm("mlp_norm", hidden, bias=norm_bias)
    mlp_bias = config.flag("mlp_bias", default=False)
    layer.linear("mlp.Wi", 2 * shape.ffn_dim, hidden, bias=mlp_bias, part="mlp")
    layer.linear("mlp.Wo", hidden, shape.ffn_dim, bias=mlp_bias, part="mlp")
    # The first layer has no norm before its attention: the embedding's is enough.
    model.at("layers.*", count=shape.layers - 1).norm("attn_norm", hidden, bias=norm_bias)


def _head(config: ConfigReader, tensors: Tensors, shape: EncoderShape, head: Head, *, tied: bool) -> None:
    bias = config.flag("decoder_bias", default=True)
    if head == "masked-lm" and not tied:
        tensors.linear("decoder", shape.vocab_size, shape.hidden_dim, bias=bias, part="head")
    elif head == "masked-lm" and bias:
        tensors.linear_bias("decoder", shape.vocab_size, part="head")
    elif head in ("sequence", "token", "question"):
        tensors.linear("classifier", labels_of(config), shape.hidden_dim, bias=True, part="projector")
