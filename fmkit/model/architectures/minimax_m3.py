"""MiniMax-M3: attention to chosen blocks of keys and experts in all but the first layers, and a tower for images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import (
    TextModel,
    causal,
    causal_lm,
    expert_tensors,
    experts_of,
    head_tensors,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.multimodal import (
    checked_name,
    language_model,
    multimodal_spec,
    sized_note,
    square_patches,
    tower_blocks,
)
from fmkit.model.architectures.variant import Defaults, Shape, Variant, prediction_notes, read_shape, variant_attention
from fmkit.model.attention import BlockSparseAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.layers import Mixer
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text")
DEFAULTS = Defaults(hidden=6144, layers=60, vocab=200064, ffn=3072, heads=64, kv_heads=4, head_dim=128, context=524288)
TEXT_NOTE = "the text model alone: the config has no vision_config"


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiniMax-M3 config: with its tower, or the text model alone."""
    if config.model_type != "minimax_m3_vl":
        return causal_lm(config, text_model, default_class="MiniMaxM3VLForCausalLM")
    name = checked_name(config, "MiniMaxM3SparseForConditionalGeneration")
    tensors = Tensors()
    vision, merged = _vision_tower(config.part("vision_config"), tensors.at("model.vision_tower", part="vision"))
    text = language_model(config, tensors.at("model.language_model"), default_type="minimax_m3_vl_text", tied=False)
    _projector(config, tensors.at("model.multi_modal_projector"), vision.hidden_dim, text.stack.hidden_dim, merged)
    head_tensors(tensors, text)
    tokens = (vision.fixed_tokens or 0) // merged
    return multimodal_spec(
        config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(sized_note(tokens),)
    )


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """MiniMaxM3VLTextModel. Class defaults: MiniMaxM3VLTextConfig, transformers 5.23."""
    shape = read_shape(config, DEFAULTS)
    chooses, sparse = _choosing_layers(config, shape.layers), _expert_layers(config, shape.layers)
    full, chosen = causal(shape.heads, None), _sparse_attention(config, shape)
    tensors.embedding("embed_tokens", shape.vocab, shape.hidden)
    layer = tensors.at("layers.*", count=shape.layers)
    variant_attention(layer, shape, Variant(defaults=DEFAULTS, qk_norm="head"))
    if any(chooses):
        indexer = tensors.at("layers.*.self_attn.indexer", count=chooses.count(True))
        _indexer_tensors(config, indexer, shape.hidden, chosen.index_dim)
    mlps = _feed_forwards(config, tensors, shape.hidden, sparse)
    layer.norm("input_layernorm", shape.hidden)
    layer.norm("post_attention_layernorm", shape.hidden)
    tensors.norm("norm", shape.hidden)
    rotary_buffers(tensors, rotary_dims(config, shape.heads.dim))
    mixers: list[Mixer] = [chosen if flag else full for flag in chooses]
    notes = (TEXT_NOTE,) if config.model_type == "minimax_m3" else ()
    return TextModel(
        stack=stack_of("decoder", shape.hidden, zip(mixers, mlps, strict=True), implementation="minimax_m3_vl_text"),
        vocab_size=shape.vocab,
        max_context_tokens=rope_limit(config, class_default=DEFAULTS.context),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=(*notes, *prediction_notes(config)),
    )


def _sparse_settings(config: ConfigReader) -> ConfigReader:
    """Settings of the indexer: in an object of their own in repositories, flat in transformers."""
    return config.child("sparse_attention_config") or config


def _sparse_attention(config: ConfigReader, shape: Shape) -> BlockSparseAttention:
    settings, heads = _sparse_settings(config), shape.heads
    return BlockSparseAttention(
        query_heads=heads.query,
        kv_heads=heads.kv,
        key_dim=heads.dim,
        value_dim=heads.dim,
        index_dim=settings.size("sparse_index_dim", "index_head_dim", default=128),
        block_tokens=settings.size("sparse_block_size", "index_block_size", default=128),
        chosen_blocks=settings.size("sparse_topk_blocks", "index_topk_blocks", default=16),
    )


def _indexer_tensors(config: ConfigReader, indexer: Tensors, hidden: int, dim: int) -> None:
    heads = _sparse_settings(config).size("sparse_num_index_heads", "index_n_heads", default=4)
    indexer.linear("q_proj", heads * dim, hidden, part="attention")
    indexer.linear("k_proj", dim, hidden, part="attention")
    indexer.norm("q_norm", dim)
    indexer.norm("k_norm", dim)


def _choosing_layers(config: ConfigReader, layers: int) -> list[bool]:
    """Which layers choose blocks: by `layer_types`, by `sparse_attention_freq`, or none."""
    types = config.texts("layer_types")
    if types is not None:
        unknown = next((kind for kind in types if kind not in ("minimax_m3_sparse", "full_attention")), None)
        if unknown is not None:
            raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
        return _each(config, "layer_types", [kind == "minimax_m3_sparse" for kind in types], layers)
    frequencies = _sparse_settings(config).sizes("sparse_attention_freq")
    if frequencies is None:
        return [False] * layers
    return _each(config, "sparse_attention_freq", [bool(frequency) for frequency in frequencies], layers)


def _expert_layers(config: ConfigReader, layers: int) -> list[bool]:
    """Which layers have experts: by `mlp_layer_types`, by `moe_layer_freq`, or all."""
    types = config.texts("mlp_layer_types")
    if types is not None:
        return _each(config, "mlp_layer_types", [kind == "sparse" for kind in types], layers)
    frequencies = config.sizes("moe_layer_freq")
    if frequencies is None:
        return [True] * layers
    return _each(config, "moe_layer_freq", [bool(frequency) for frequency in frequencies], layers)


def _each(config: ConfigReader, name: str, flags: list[bool], layers: int) -> list[bool]:
    if len(flags) != layers:
        raise config.wrong(name, f"one item for each of {layers} layers", f"{len(flags)} items")
    return flags


def _feed_forwards(config: ConfigReader, tensors: Tensors, hidden: int, sparse: list[bool]) -> list[Mlp]:
    """The feed-forward of each layer, its tensors added; gate and input projection are one matrix."""
    dense = Mlp(ffn_dim=config.core("dense_intermediate_size", class_default=12288), gated=True)
    shared = config.core("shared_intermediate_size", class_default=3072)
    ffn = config.core("intermediate_size", class_default=3072)
    mixture = experts_of(
        config, "num_local_experts", "num_experts", per_token=4, experts=128, ffn_dim=ffn, shared_ffn_dim=shared
    )
    _joined(tensors.at("layers.*.mlp", count=sparse.count(False)), hidden, dense.ffn_dim)
    layer = tensors.at("layers.*", count=sparse.count(True))
    if any(sparse):
        expert_tensors(layer, hidden, mixture)
        layer.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype=None)
        _joined(layer.at("mlp.shared_experts"), hidden, shared)
    return [mixture if flag else dense for flag in sparse]


def _joined(mlp: Tensors, hidden: int, ffn: int) -> None:
    mlp.linear("gate_up_proj", 2 * ffn, hidden, part="mlp")
    mlp.linear("down_proj", hidden, ffn, part="mlp")


def _vision_tower(config: ConfigReader, tensors: Tensors) -> tuple[Stack, int]:
    """The tower, and how many patches make a token. Class defaults: MiniMaxM3VLVisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1280)
    layers = config.layers("num_hidden_layers", class_default=32)
    query = config.core("num_attention_heads", class_default=16)
    ffn = config.core("intermediate_size", class_default=5120)
    patch, merge = config.size("patch_size", default=14), config.size("spatial_merge_size", default=2)
    frames = config.size("temporal_patch_size", default=2)
    shape = (hidden, config.size("num_channels", default=3), frames, patch, patch)
    tensors.parameter("embeddings.proj.weight", shape, part="vision")  # a convolution in three dimensions
    tensors.norm("pre_layrnorm", hidden, bias=True)
    layer = tensors.at("layers.*", count=layers)
    layer.norm("layer_norm1", hidden, bias=True)
    layer.norm("layer_norm2", hidden, bias=True)
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=True, part="vision")
    layer.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    layer.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")
    blocks = tower_blocks(config, hidden, query, ffn, layers, heads_name="num_attention_heads")
    for name in ("inv_freq", "original_inv_freq"):
        # Frames, rows and columns share a head's width.
        tensors.buffer(f"rotary_emb.{name}", (blocks[0][0].key_dim // 6,), dtype="float32")
    patches = square_patches(patch, merge)
    stack = stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="minimax_m3_vl_vision")
    return stack, merge * merge


def _projector(config: ConfigReader, projector: Tensors, vision_dim: int, text_dim: int, merged: int) -> None:
    """Two layers for each patch, then two for each group of patches."""
    width = config.size("projector_hidden_size", default=6144)
    projector.linear("linear_1", width, vision_dim, bias=True, part="projector")
    projector.linear("linear_2", text_dim, width, bias=True, part="projector")
    projector.linear("merge_linear_1", width, merged * text_dim, bias=True, part="projector")
    projector.linear("merge_linear_2", text_dim, width, bias=True, part="projector")
