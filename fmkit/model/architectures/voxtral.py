"""Voxtral: Whisper's encoder, four frames to one token, and a Llama."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.build import Tensors
from fmkit.model.architectures.decoder import head_tensors, stack_of
from fmkit.model.architectures.multimodal import checked_name, language_model, multimodal_spec, tower_blocks

if TYPE_CHECKING:
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec, Stack

MODEL_TYPES = ("voxtral",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a Voxtral config. Class defaults: VoxtralConfig, transformers 5.23."""
    name = checked_name(config, "VoxtralForConditionalGeneration")
    tensors = Tensors()
    audio_config = config.part("audio_config")
    audio = _audio_tower(audio_config, tensors.at("model.audio_tower", part="audio"))
    text = language_model(config, tensors.at("model.language_model"), default_type="llama", tied=False)
    # The projector takes as many frames as make up the encoder's inner width.
    inner, hidden = audio_config.core("intermediate_size", class_default=5120), text.stack.hidden_dim
    projector = tensors.at("model.multi_modal_projector")
    projector.linear("linear_1", hidden, inner, part="projector")
    projector.linear("linear_2", hidden, hidden, part="projector")
    head_tensors(tensors, text)
    frames = audio.fixed_tokens or 0
    tokens = frames * audio.hidden_dim // inner
    note = f"30 s of sound take {tokens} tokens of the context"
    return multimodal_spec(config, tensors, text, (audio,), name=name, image_tokens=None, kind="speech", notes=(note,))


def _audio_tower(config: ConfigReader, tensors: Tensors) -> Stack:
    """VoxtralEncoder. Class defaults: VoxtralEncoderConfig, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=1280)
    layers = config.layers("num_hidden_layers", class_default=32)
    query = config.core("num_attention_heads", class_default=20)
    ffn = config.core("intermediate_size", class_default=5120)
    frames = config.size("max_source_positions", default=1500)
    tensors.conv("conv1", (hidden, config.size("num_mel_bins", default=128), 3), bias=True, part="audio")
    tensors.conv("conv2", (hidden, hidden, 3), bias=True, part="audio")
    tensors.embedding("embed_positions", frames, hidden)
    layer = tensors.at("layers.*", count=layers)
    for name, bias in (("k_proj", False), ("v_proj", True), ("q_proj", True), ("out_proj", True)):
        layer.linear(f"self_attn.{name}", hidden, hidden, bias=bias, part="audio")
    layer.norm("self_attn_layer_norm", hidden, bias=True)
    layer.linear("fc1", ffn, hidden, bias=True, part="audio")
    layer.linear("fc2", hidden, ffn, bias=True, part="audio")
    layer.norm("final_layer_norm", hidden, bias=True)
    tensors.norm("layer_norm", hidden, bias=True)
    blocks = tower_blocks(config, hidden, query, ffn, layers, heads_name="num_attention_heads")
    return stack_of("audio", hidden, blocks, fixed_tokens=frames, implementation="whisper")
