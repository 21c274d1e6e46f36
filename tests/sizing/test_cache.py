"""The cache against caches that transformers really filled: equal to the byte, after prefill and after a decode step."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.model.architectures import read
from fmkit.sizing.cache import cache_bytes, prompt_kept_bytes
from tests.sizing.test_activations import inputs_for, shortened

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from tests.sizing import tracing  # noqa: E402  needs torch

DECODERS = (
    "meta-llama--Llama-3.2-1B-Instruct", "openai-community--gpt2", "Qwen--Qwen3-0.6B", "google--gemma-2-2b", "google--gemma-3-1b-it",
    "microsoft--Phi-3-mini-4k-instruct", "CohereLabs--aya-23-8B", "mistralai--Mistral-7B-v0.1", "mistralai--Mixtral-8x7B-v0.1",
    "tiiuae--falcon-7b", "tiiuae--falcon-40b", "deepseek-ai--DeepSeek-V3", "openai--gpt-oss-20b", "state-spaces--mamba-130m-hf",
)  # fmt: skip
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
