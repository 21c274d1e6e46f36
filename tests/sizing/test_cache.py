"""The cache against caches that transformers really filled: equal to the byte, after prefill and after a decode step."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.model.architectures import read
from fmkit.model.layers import parts_of
from fmkit.sizing.cache import cache_bytes, prompt_kept_bytes
from tests.configs import load
from tests.sizing.test_activations import inputs_for, shortened

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from tests.meta_model import RENAMED  # noqa: E402  needs torch
from tests.sizing import tracing  # noqa: E402  needs torch

DECODERS = (
    "meta-llama--Llama-3.2-1B-Instruct", "openai-community--gpt2", "Qwen--Qwen3-0.6B", "google--gemma-2-2b", "google--gemma-3-1b-it",
    "microsoft--Phi-3-mini-4k-instruct", "CohereLabs--aya-23-8B", "mistralai--Mistral-7B-v0.1", "mistralai--Mixtral-8x7B-v0.1",
    "tiiuae--falcon-7b", "tiiuae--falcon-40b", "deepseek-ai--DeepSeek-V3", "openai--gpt-oss-20b", "state-spaces--mamba-130m-hf",
)  # fmt: skip
KINDS = (
    # name, layers, tokens: each kind of layer, below and past its window, at its true widths
    ("ai21labs--Jamba-v0.1", 5, (40,)),
    ("ibm-ai-platform--Bamba-9B-v1", 10, (40,)),
    ("ibm-granite--granite-4.0-h-tiny", 6, (40,)),
    ("LiquidAI--LFM2-1.2B", 3, (40, 5000)),
    ("mistralai--Mamba-Codestral-7B-v0.1", 2, (40,)),
    ("nvidia--Nemotron-H-8B-Base-8K", 8, (40,)),
    ("Qwen--Qwen3-Next-80B-A3B-Thinking", 4, (40,)),
    ("Qwen--Qwen3.5-27B", 4, (40,)),
    ("tiiuae--Falcon-H1-7B-Base", 2, (40,)),
    ("RWKV--rwkv-4-169m-pile", 2, (40,)),
    ("MiniMaxAI--MiniMax-Text-01-hf", 8, (40,)),
    ("deepseek-ai--DeepSeek-V4-Flash", 4, (3, 40, 127, 128, 131, 5000, 5123)),
    ("XiaomiMiMo--MiMo-V2-Flash", 2, (40, 5000)),
    ("allenai--Olmo-3.1-32B-Instruct", 4, (40, 5000)),
    ("zai-org--GLM-5", 1, (40, 5000)),
    ("openbmb--MiniCPM3-4B", 2, (40,)),
    ("bigscience--bloom-560m", 2, (40,)),
    ("mosaicml--mpt-7b", 2, (40,)),
    ("microsoft--biogpt", 2, (40,)),
    ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 4, (40, 9000)),
    ("google--gemma-4-E2B-it", 20, (40, 5000)),
    ("google--gemma-4-26B-A4B", 6, (40, 2000)),
    ("MiniMaxAI--MiniMax-M3", 4, (2500,)),
)
TEXT_CLASSES = {
    "llama4_text": "Llama4ForCausalLM",
    "gemma4_text": "Gemma4ForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "minimax_m3_vl_text": "MiniMaxM3VLForCausalLM",
}
LISTS = ("layer_types", "compress_ratios", "mlp_layer_types", "no_rope_layers", "moe_layer_freq")
ENCODER_DECODERS = ("google-t5--t5-base", "google--flan-t5-base", "facebook--bart-base", "openai--whisper-base")


@pytest.mark.parametrize("sequences", [1, 4])
@pytest.mark.parametrize("tokens", [40, 5000])
@pytest.mark.parametrize("name", DECODERS)
def test_decoder_cache_is_the_filled_cache(name: str, tokens: int, sequences: int) -> None:
    config = shortened(name, layers=2)
    spec = read(config, where="test")
    if spec.context_is_hard and spec.max_context_tokens:
        tokens = min(tokens, spec.max_context_tokens - 1)
    if spec.kind == "state-space":
        tokens = min(tokens, 64)  # its scan is a loop over tokens, and its state does not depend on them
    prefilled, stepped = tracing.filled_cache_bytes(
        config, inputs_for(config, sequences, tokens, torch.bfloat16), dtype=torch.bfloat16
    )
    assert cache_bytes(spec, tokens + 1, 0, sequences, 2) == stepped
    held_after_prefill = cache_bytes(spec, tokens, 0, sequences, 2) + prompt_kept_bytes(spec, tokens, sequences, 2)
    assert held_after_prefill == prefilled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_encoder_decoder_cache_is_the_filled_cache(name: str, dtype: Any) -> None:
    config = shortened(name, layers=2)
    spec = read(config, where="test")
    encoder = spec.stack("encoder") or spec.stack("audio")
    assert encoder is not None
    encoder_tokens = encoder.fixed_tokens or 200
    prefilled, stepped = tracing.filled_cache_bytes(config, inputs_for(config, 3, 200, dtype), dtype=dtype)
    assert cache_bytes(spec, 1, encoder_tokens, 3, dtype.itemsize) == prefilled
    assert cache_bytes(spec, 2, encoder_tokens, 3, dtype.itemsize) == stepped


def text_only(name: str, layers: int) -> dict[str, Any]:
    """A fixture's language model at its true widths, with its first layers; of 20 layers of Gemma 4, 5 share a cache."""
    config: dict[str, Any] = load(name)
    config = config.get("text_config", config)
    config["model_type"] = RENAMED.get(config["model_type"], config["model_type"])
    for key in ("num_hidden_layers", "n_layer", "n_layers"):
        if key in config:
            config[key] = layers
    for key in LISTS:
        if isinstance(config.get(key), list):
            config[key] = config[key][:layers]
    if config.get("sparse_attention_config"):
        chosen = config["sparse_attention_config"]
        chosen["sparse_attention_freq"] = chosen["sparse_attention_freq"][:layers]
    if config.get("hybrid_override_pattern"):
        config["hybrid_override_pattern"] = config["hybrid_override_pattern"][:layers]
    if config.get("num_kv_shared_layers"):
        config["num_kv_shared_layers"] = layers // 4
    if config["model_type"] in TEXT_CLASSES:
        config["architectures"] = [TEXT_CLASSES[config["model_type"]]]
    return config


@pytest.mark.parametrize("sequences", [1, 4])
@pytest.mark.parametrize(
    ("name", "layers", "tokens"), [(name, layers, count) for name, layers, counts in KINDS for count in counts]
)
def test_every_kind_of_layer_is_the_filled_cache(name: str, layers: int, tokens: int, sequences: int) -> None:
    config = text_only(name, layers)
    spec = read(config, where="test")
    inputs = inputs_for(config, sequences, tokens, torch.bfloat16)
    prefilled, stepped = tracing.filled_cache_bytes(config, inputs, dtype=torch.bfloat16)
    assert cache_bytes(spec, tokens + 1, 0, sequences, 2) == stepped
    kept = prompt_kept_bytes(spec, tokens, sequences, 2)
    assert cache_bytes(spec, tokens, 0, sequences, 2) + kept == prefilled


def test_the_kinds_of_layer_are_all_filled_somewhere() -> None:
    """A new kind without a case here would be unproven."""
    proven = {
        type(part).__name__
        for name, layers, _ in KINDS
        for block in read(text_only(name, layers), where="test").stacks[0].blocks
        for part in parts_of(block.mixer)
    }
    assert proven >= {
        "FullAttention", "SlidingAttention", "ChunkedAttention", "SharedAttention", "BlockSparseAttention", "LatentAttention", "CompressedAttention",
        "StateSpace", "Mamba2", "DeltaAttention", "LinearAttention", "Rwkv", "ShortConvolution", "NoMixer",
    }  # fmt: skip
