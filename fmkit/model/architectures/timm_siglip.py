"""SigLIP's image tower by timm's names, with its attention pooling: what DeepSeek-VL2 and Janus hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import stack_of
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Stack


def vision_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """VisionTransformer of the repositories, which pools patches although nothing reads what it pools.

    Class defaults: `VisionEncoderConfig` of DeepSeek-VL2 (siglip_large_patch16_384).
    """
    hidden = config.size("width", default=1024)
    layers = config.layers("layers", class_default=24)
    query = config.size("heads", default=16)
    patch = config.size("patch_size", default=16)
    side = config.size("image_size", default=384) // patch
    if side == 0:
        raise config.wrong("patch_size", "at most image_size", patch)
    ffn = int(hidden * config.number("mlp_ratio", 4.0))
    dim = config.divide("width", hidden, "heads", query)
    tensors.conv("patch_embed.proj", (hidden, 3, patch, patch), bias=True, part="vision")
    tensors.parameter("pos_embed", (1, side * side, hidden), part="vision")
    block = tensors.at("blocks.*", count=layers)
    block.norm("norm1", hidden, bias=True)
    block.linear("attn.qkv", 3 * hidden, hidden, bias=True, part="vision")
    block.linear("attn.proj", hidden, hidden, bias=True, part="vision")
    block.norm("norm2", hidden, bias=True)
    _feed_forward(block, hidden, ffn)
    tensors.norm("norm", hidden, bias=True)
    _pooling(tensors.at("attn_pool"), hidden, ffn)
    attention = EncoderAttention(query_heads=query, kv_heads=query, key_dim=dim, value_dim=dim)
    blocks = [(attention, Mlp(ffn_dim=ffn, gated=False))] * layers
    return stack_of("vision", hidden, blocks, fixed_tokens=side * side, implementation="siglip_vision_model")


def _feed_forward(module: Tensors, hidden: int, ffn: int) -> None:
    module.linear("mlp.fc1", ffn, hidden, bias=True, part="vision")
    module.linear("mlp.fc2", hidden, ffn, bias=True, part="vision")


def _pooling(pool: Tensors, hidden: int, ffn: int) -> None:
    """One learned query attends to all patches, then a feed-forward."""
    pool.parameter("latent", (1, 1, hidden), part="vision")
    pool.linear("q", hidden, hidden, bias=True, part="vision")
    pool.linear("kv", 2 * hidden, hidden, bias=True, part="vision")
    pool.linear("proj", hidden, hidden, bias=True, part="vision")
    pool.norm("norm", hidden, bias=True)
    _feed_forward(pool, hidden, ffn)
