"""Janus' VQ-16: the convolutions that turn an image into codes and codes into an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader

CHANNELS = 128
MULTIPLES = (1, 1, 2, 2, 4)
LATENT = 256
CODES, CODE_DIM = 16384, 8
"""Sizes of VQ-16: defaults of `ModelArgs`, Encoder and Decoder in the repository's vq_model.py, which no config changes."""


def tensors_of(config: ConfigReader, tensors: Tensors) -> tuple[int, int]:
    """The encoder, the codes and the decoder; how many codes, and how wide they are."""
    vision = config.part("gen_vision_config")
    kind = vision.optional_text("cls")
    if kind != "VQ-16":
        raise config.unknown(f"image generator {str(kind)[:40]!r} is not known; known: VQ-16")
    sizes = vision.part("params")
    for name, known in (("image_token_size", CODES), ("n_embed", CODE_DIM)):
        if sizes.size(name, default=known) != known:
            raise sizes.wrong(name, f"{known}, the size of VQ-16", sizes.size(name))
    _encoder(tensors.at("encoder"))
    _decoder(tensors.at("decoder"))
    tensors.embedding("quantize.embedding", CODES, CODE_DIM)
    tensors.buffer("quantize.codebook_used", (65536,), dtype=None)
    tensors.conv("quant_conv", (CODE_DIM, LATENT, 1, 1), bias=True, part="vision")
    tensors.conv("post_quant_conv", (LATENT, CODE_DIM, 1, 1), bias=True, part="vision")
    return CODES, CODE_DIM


def _encoder(encoder: Tensors) -> None:
    _conv(encoder, "conv_in", 3, CHANNELS)
    width, last = CHANNELS, len(MULTIPLES) - 1
    for level, multiple in enumerate(MULTIPLES):
        blocks = encoder.at(f"conv_blocks.{level}")
        width = _level(blocks, width, CHANNELS * multiple, blocks=2, attends=level == last)
        if level != last:
            _conv(blocks, "downsample.conv", width, width)
    _middle(encoder, width)
    encoder.norm("norm_out", width, bias=True)
    _conv(encoder, "conv_out", width, LATENT)


def _decoder(decoder: Tensors) -> None:
    width = CHANNELS * MULTIPLES[-1]
    _conv(decoder, "conv_in", LATENT, width)
    _middle(decoder, width)
    last = len(MULTIPLES) - 1
    for level, multiple in enumerate(reversed(MULTIPLES)):
        blocks = decoder.at(f"conv_blocks.{level}")
        width = _level(blocks, width, CHANNELS * multiple, blocks=3, attends=level == 0)
        if level != last:
            _conv(blocks, "upsample.conv", width, width)
    decoder.norm("norm_out", width, bias=True)
    _conv(decoder, "conv_out", width, 3)


def _level(tensors: Tensors, inputs: int, outputs: int, *, blocks: int, attends: bool) -> int:
    """The residual blocks of one resolution, each followed by attention at the coarsest one; the width they give."""
    for number in range(blocks):
        _residual(tensors.at(f"res.{number}"), inputs if number == 0 else outputs, outputs)
        if attends:
            _attention(tensors.at(f"attn.{number}"), outputs)
    return outputs


def _middle(tensors: Tensors, width: int) -> None:
    _residual(tensors.at("mid.0"), width, width)
    _attention(tensors.at("mid.1"), width)
    _residual(tensors.at("mid.2"), width, width)


def _residual(block: Tensors, inputs: int, outputs: int) -> None:
    block.norm("norm1", inputs, bias=True)
    _conv(block, "conv1", inputs, outputs)
    block.norm("norm2", outputs, bias=True)
    _conv(block, "conv2", outputs, outputs)
    if inputs != outputs:
        block.conv("nin_shortcut", (outputs, inputs, 1, 1), bias=True, part="vision")


def _attention(block: Tensors, width: int) -> None:
    block.norm("norm", width, bias=True)
    for name in ("q", "k", "v", "proj_out"):
        block.conv(name, (width, width, 1, 1), bias=True, part="vision")


def _conv(tensors: Tensors, name: str, inputs: int, outputs: int) -> None:
    tensors.conv(name, (outputs, inputs, 3, 3), bias=True, part="vision")
