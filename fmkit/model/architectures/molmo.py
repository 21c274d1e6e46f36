"""Molmo, the first: CLIP's largest tower tapped at two depths, attention that pools its patches, and a Qwen2 or OLMo decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import TextModel, causal, head_tensors, read_heads, rope_limit, stack_of
from fmkit.model.architectures.multimodal import checked_name, multimodal_spec
from fmkit.model.architectures.remote import NOTE
from fmkit.model.attention import EncoderAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("molmo",)
WIDTH, LAYERS, HEADS, FFN = 1024, 23, 16, 4096
PATCH, POSITIONS = 14, 577
TAPPED_LAYERS = 2
EXTRA_TOKENS = 128
"""Sizes that the repository's code holds and no config changes: `VisionBackboneConfig`, `vit_layers`, `additional_vocab_size`."""
POOLED_PATCHES = 4
"""Patches pooled into one token of an image: 2 x 2."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Molmo config; 8,021,025,280 parameters for Molmo-7B-D, as published."""
    name = checked_name(config, "MolmoForCausalLM")
    tensors = Tensors()
    images = tensors.at("model.vision_backbone")
    vision = _vision_tower(images.at("image_vit", part="vision"))
    text = _text_model(config, tensors.at("model.transformer"))
    _adapter(images, text)
    # The head has the name of the feed-forwards' last layers.
    head_tensors(tensors.at("model.transformer"), text)
    tokens = (POSITIONS - 1) // POOLED_PATCHES
    note = f"an image is one crop of {tokens} tokens; the processor cuts a large one into up to 12 more"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=tokens, notes=(NOTE, note))


def _text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """Molmo of the repository. `intermediate_size` counts both halves of the gated feed-forward."""
    hidden, layers = config.size("hidden_size"), config.layers("num_hidden_layers", class_default=32)
    rows = config.optional_size("embedding_size") or config.size("vocab_size")
    both = config.size("intermediate_size")
    ffn = config.divide("intermediate_size", both, "the halves of a gate", 2)
    heads = read_heads(config, hidden, heads=32)
    queries, keys = heads.query * heads.dim, heads.kv * heads.dim
    tensors.parameter("wte.embedding", (rows, hidden), part="embedding")
    tensors.parameter("wte.new_embedding", (EXTRA_TOKENS, hidden), part="embedding")
    block = tensors.at("blocks.*", count=layers)
    bias = config.flag("qkv_bias", default=False)
    block.linear("att_proj", queries + 2 * keys, hidden, bias=bias, part="attention")
    block.linear("attn_out", hidden, queries, part="attention")
    block.linear("ff_proj", both, hidden, part="mlp")
    block.linear("ff_out", hidden, ffn, part="mlp")
    block.norm("attn_norm", hidden)
    block.norm("ff_norm", hidden)
    if config.flag("attention_layer_norm", default=False):
        block.norm("q_norm", queries)
        block.norm("k_norm", keys)
    tensors.norm("ln_f", hidden)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), Mlp(ffn_dim=ffn, gated=True))] * layers),
        vocab_size=rows,
        max_context_tokens=rope_limit(config, class_default=2048),
        tied=config.flag("weight_tying", default=False),
        head_name="ff_out",
    )


def _vision_tower(tensors: Tensors) -> Stack:
    """VisionTransformer of the repository: CLIP's without its last layer, which nothing reads."""
    tensors.parameter("class_embedding", (WIDTH,), part="vision")
    tensors.parameter("positional_embedding", (POSITIONS, WIDTH), part="vision")
    tensors.linear("patch_embedding", WIDTH, 3 * PATCH * PATCH, part="vision")
    tensors.norm("pre_ln", WIDTH, bias=True)
    block = tensors.at("transformer.resblocks.*", count=LAYERS)
    for name in ("wq", "wk", "wv", "wo"):
        block.linear(f"attention.{name}", WIDTH, WIDTH, bias=True, part="vision")
    block.linear("feed_forward.w1", FFN, WIDTH, bias=True, part="vision")
    block.linear("feed_forward.w2", WIDTH, FFN, bias=True, part="vision")
    block.norm("attention_norm", WIDTH, bias=True)
    block.norm("ffn_norm", WIDTH, bias=True)
    dim = WIDTH // HEADS
    attention = EncoderAttention(query_heads=HEADS, kv_heads=HEADS, key_dim=dim, value_dim=dim)
    blocks = [(attention, Mlp(ffn_dim=FFN, gated=False))] * LAYERS
    return stack_of("vision", WIDTH, blocks, fixed_tokens=POSITIONS, implementation="clip_vision_model")


def _adapter(images: Tensors, text: TextModel) -> None:
    """Embeddings of padding, attention that pools patches, and a gated projection as wide as the decoder's feed-forward."""
    inputs, hidden = TAPPED_LAYERS * WIDTH, text.stack.hidden_dim
    images.parameter("pad_embed", (2, inputs), part="projector")
    for name in ("wq", "wk", "wv"):
        images.linear(f"image_pooling_2d.{name}", WIDTH, inputs, bias=True, part="projector")
    images.linear("image_pooling_2d.wo", WIDTH, WIDTH, bias=True, part="projector")
    mlp = text.stack.blocks[0].mlp
    ffn = mlp.ffn_dim if mlp is not None else 0
    images.linear("image_projector.w1", ffn, WIDTH, part="projector")
    images.linear("image_projector.w3", ffn, WIDTH, part="projector")
    images.linear("image_projector.w2", hidden, ffn, part="projector")
