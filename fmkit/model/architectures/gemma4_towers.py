"""The towers of Gemma 4: images at their own shape, and sound through a conformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import stack_of
from fmkit.model.architectures.multimodal import tower_blocks

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack

AUDIO_FRAMES = 750
"""Frames of 40 ms in 30 s of sound, the longest piece that the model takes (Gemma4Processor, transformers 5.23)."""
MEL_BINS = 128
"""Frequencies of a frame of sound (Gemma4AudioFeatureExtractor, transformers 5.23)."""


def vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """Gemma4VisionModel. Class defaults: Gemma4VisionConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=768)
    layers = config.layers("num_hidden_layers", class_default=16)
    query = config.core("num_attention_heads", class_default=12)
    keys = config.core("num_key_value_heads", class_default=12)
    ffn, dim = config.core("intermediate_size", class_default=3072), config.core("head_dim", class_default=64)
    patch, rows = config.size("patch_size", default=16), config.size("position_embedding_size", default=10240)
    clipped, bias = config.flag("use_clipped_linears", default=False), config.flag("attention_bias", default=False)
    tensors.parameter("patch_embedder.position_embedding_table", (2, rows, hidden), part="vision")
    tensors.linear("patch_embedder.input_proj", hidden, 3 * patch * patch, part="vision")
    layer = tensors.at("encoder.layers.*", count=layers)
    for name, outputs, inputs in (
        ("q_proj", query * dim, hidden),
        ("k_proj", keys * dim, hidden),
        ("v_proj", keys * dim, hidden),
        ("o_proj", hidden, query * dim),
    ):
        clipped_linear(layer, f"self_attn.{name}", outputs, inputs, clipped=clipped, bias=bias)
    for name, outputs, inputs in (("gate_proj", ffn, hidden), ("up_proj", ffn, hidden), ("down_proj", hidden, ffn)):
        clipped_linear(layer, f"mlp.{name}", outputs, inputs, clipped=clipped)
    layer.norm("self_attn.q_norm", dim)
    layer.norm("self_attn.k_norm", dim)
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        layer.norm(f"{name}_layernorm", hidden)
    if config.flag("standardize", default=False):
        tensors.buffer("std_bias", (hidden,), dtype=None)
        tensors.buffer("std_scale", (hidden,), dtype=None)
    for name in ("inv_freq", "original_inv_freq"):
        tensors.buffer(f"encoder.rotary_emb.{name}", (dim // 4,), dtype="float32")
    pooled = config.size("pooling_kernel_size", default=3) ** 2
    patches = config.size("default_output_length", default=280) * pooled
    blocks = tower_blocks(config, hidden, query, ffn, layers, gated=True, heads_name="num_attention_heads")
    return stack_of("vision", hidden, blocks, fixed_tokens=patches, implementation="gemma4_vision")


def audio_tower(config: ConfigReader, tensors: Tensors) -> tuple[Stack, int]:
    """Gemma4AudioModel, and the width it gives. Class defaults: Gemma4AudioConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1024)
    layers = config.layers("num_hidden_layers", class_default=12)
    query = config.core("num_attention_heads", class_default=8)
    clipped = config.flag("use_clipped_linears", default=True)
    channels = config.sizes("subsampling_conv_channels", minimum=1) or (128, 32)
    convolution, inputs = tensors.at("subsample_conv_projection"), 1
    for index, outputs in enumerate(channels):
        convolution.conv(f"layer{index}.conv", (outputs, inputs, 3, 3), part="audio")
        convolution.norm(f"layer{index}.norm", outputs)
        inputs = outputs
    # Each convolution halves the frequencies.
    convolution.linear("input_proj_linear", hidden, MEL_BINS // 2 ** len(channels) * inputs, part="audio")
    tensors.buffer("rel_pos_enc.inv_timescales", (1, 1, hidden // 2), dtype=None)
    blocks = tower_blocks(config, hidden, query, 4 * hidden, layers, heads_name="num_attention_heads")
    layer = tensors.at("layers.*", count=layers)
    for half in ("feed_forward1", "feed_forward2"):
        clipped_linear(layer, f"{half}.ffw_layer_1", 4 * hidden, hidden, clipped=clipped)
        clipped_linear(layer, f"{half}.ffw_layer_2", hidden, 4 * hidden, clipped=clipped)
        layer.norm(f"{half}.pre_layer_norm", hidden)
        layer.norm(f"{half}.post_layer_norm", hidden)
    attention = layer.at("self_attn")
    attention.parameter("per_dim_scale", (blocks[0][0].key_dim,), part="audio")
    attention.buffer("softcap", (), dtype=None)
    for name in ("q_proj", "k_proj", "v_proj", "post"):
        clipped_linear(attention, name, hidden, hidden, clipped=clipped)
    attention.linear("relative_k_proj", hidden, hidden, part="audio")
    clipped_linear(layer, "lconv1d.linear_start", 2 * hidden, hidden, clipped=clipped)
    clipped_linear(layer, "lconv1d.linear_end", hidden, hidden, clipped=clipped)
    layer.conv("lconv1d.depthwise_conv1d", (hidden, 1, config.size("conv_kernel_size", default=5)), part="audio")
    for name in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"):
        layer.norm(name, hidden)
    width = config.size("output_proj_dims", default=1536)
    tensors.linear("output_proj", width, hidden, bias=True, part="audio")
    stack = stack_of("audio", hidden, blocks, fixed_tokens=AUDIO_FRAMES, implementation="gemma4_audio")
    return stack, width


def clipped_linear(module: Tensors, name: str, outputs: int, inputs: int, *, clipped: bool, bias: bool = False) -> None:
    """A linear layer in a wrapper that keeps the range of its inputs and outputs, if it clips them."""
    module.linear(f"{name}.linear", outputs, inputs, bias=bias, part="vision")
    if clipped:
        for limit in ("input_min", "input_max", "output_min", "output_max"):
            module.buffer(f"{name}.{limit}", (), dtype=None)
