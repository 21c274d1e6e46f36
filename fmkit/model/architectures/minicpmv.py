"""MiniCPM-V 2.6: a SigLIP tower for slices of up to 980 pixels a side, a resampler to 64 tokens, and a Qwen2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures import qwen2, siglip
from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors
from fmkit.model.architectures.multimodal import checked_name, multimodal_spec
from fmkit.model.architectures.remote import NOTE

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("minicpmv",)
VERSION = 2.6


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a MiniCPM-V 2.6 config; 8,099,175,152 parameters, as published.

    `version` decides which language model is inside: earlier releases have a Llama or a MiniCPM, and are refused.
    """
    name = checked_name(config, "MiniCPMV")
    if not config.has("version"):
        raise config.missing("version")
    if config.number("version", VERSION) != VERSION:
        raise config.unknown(f"MiniCPM-V of another version than {VERSION} is not understood")
    tensors = Tensors()
    text = qwen2.text_model(config, tensors.at("llm.model"))
    vision = siglip.vision_tower(config.part("vision_config"), tensors.at("vpm", part="vision"), pooling_default=False)
    queries = config.size("query_num", default=64)
    _resampler(tensors.at("resampler"), queries, vision.hidden_dim, text.stack.hidden_dim)
    head_tensors(tensors.at("llm"), text)
    note = f"an image is one slice of {queries} tokens; the processor may cut a large one into up to 9 more"
    return multimodal_spec(config, tensors, text, (vision,), name=name, image_tokens=queries, notes=(NOTE, note))


def _resampler(resampler: Tensors, queries: int, vision_dim: int, text_dim: int) -> None:
    """Learned queries that attend to all patches, once."""
    resampler.parameter("query", (queries, text_dim), part="projector")
    resampler.linear("kv_proj", text_dim, vision_dim, part="projector")
    resampler.parameter("attn.in_proj_weight", (3 * text_dim, text_dim), part="projector")
    resampler.parameter("attn.in_proj_bias", (3 * text_dim,), part="projector")
    # A subclass of torch.nn.Linear inside MultiheadAttention, which bitsandbytes leaves alone.
    resampler.linear("attn.out_proj", text_dim, text_dim, bias=True, part="projector", quantisable=False)
    for name in ("ln_q", "ln_kv", "ln_post"):
        resampler.norm(name, text_dim, bias=True)
    resampler.parameter("proj", (text_dim, text_dim), part="projector")
