"""Every kind of model, run with random weights: what is measured is what the closed forms say."""

from __future__ import annotations

import gc

import msgspec
import pytest

from fmkit.results.trial import Check
from fmkit.trial.request import TrialOutcome, TrialRequest
from tests.trial.tiny import CONFIGS, TOKENS, VOCAB, WHISPER_ENCODER_TOKENS, parameters, request, trial

FLOAT32 = 4
# Bytes in the cache after a decode step, T tokens held: reference formulas, not the program's.
CACHES = {
    "llama": 2 * 2 * 2 * 16 * TOKENS * FLOAT32,  # layers, K and V, KV heads, head width
    "gpt2": 2 * 2 * 4 * 16 * TOKENS * FLOAT32,
    "gemma3": 2 * 2 * 16 * (32 + TOKENS) * FLOAT32,  # one layer keeps its window of 32, one everything
    "mixtral": 2 * 2 * 2 * 16 * TOKENS * FLOAT32,
    "deepseek": 2 * (16 + 8) * TOKENS * FLOAT32,  # the latent and the rotary key
    "mamba": 2 * 128 * (4 * FLOAT32 + 8 * 4),
    "t5": 2 * 2 * 64 * (TOKENS + TOKENS) * FLOAT32,  # the decoder's own tokens and the encoder's
    "bart": 2 * 2 * 64 * (TOKENS + TOKENS) * FLOAT32,
    "llava": 2 * 2 * 2 * 16 * TOKENS * FLOAT32,
    "whisper": 2 * 2 * 64 * (TOKENS + WHISPER_ENCODER_TOKENS) * FLOAT32,
    "bert": 0,
    "minilm": 0,
    "clip": 0,
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, TrialOutcome]:
    gc.freeze()  # each trial collects garbage three times, and the libraries' objects are many
    return {name: trial(name) for name in CONFIGS}


def check(outcome: TrialOutcome, name: str) -> Check:
    return next(one for one in outcome.checks if one.name == name)


@pytest.mark.parametrize("name", CONFIGS)
def test_parts_sum_and_checks(name: str, outcomes: dict[str, TrialOutcome]) -> None:
    outcome = outcomes[name]
    measured = outcome.measured
    assert measured["weights"] + measured["cache"] + measured["activations"] == measured["allocated_peak_bytes"]
    assert measured["activations"] > 0
    assert check(outcome, "finite-logits").passed is True
    assert check(outcome, "deterministic").passed is True
    assert check(outcome, "held-out-text").passed is None
    assert "mean" in outcome.output
    assert len(outcome.timing.ttft_s) == 2
    assert all(seconds > 0 for seconds in outcome.timing.ttft_s)


@pytest.mark.parametrize("name", CACHES)
def test_cache_is_the_closed_form(name: str, outcomes: dict[str, TrialOutcome]) -> None:
    assert outcomes[name].measured["cache"] == CACHES[name]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral", "t5", "bart", "mamba"])
def test_weights_are_the_parameters(name: str, outcomes: dict[str, TrialOutcome]) -> None:
    rotary, bias = 2 * 8 * FLOAT32, VOCAB * FLOAT32  # frequencies, kept twice; BART adds a bias to its logits
    buffers = {"llama": rotary, "mixtral": rotary, "bart": bias}
    assert outcomes[name].measured["weights"] == parameters(name) * FLOAT32 + buffers.get(name, 0)


def test_encoders_and_clip_decode_nothing(outcomes: dict[str, TrialOutcome]) -> None:
    for name in ("bert", "minilm", "clip"):
        assert outcomes[name].timing.decode_tokens_per_s == ()
        assert "decode_peak_bytes" not in outcomes[name].measured


def test_tasks(outcomes: dict[str, TrialOutcome]) -> None:
    found = {name: outcomes[name].task for name in ("llama", "bert", "minilm", "t5", "clip", "llava", "whisper")}
    assert found == {
        "llama": "text generation",
        "bert": "fill-mask",
        "minilm": "embedding",
        "t5": "text to text",
        "clip": "image-text similarity",
        "llava": "image to text",
        "whisper": "transcription",
    }


@pytest.mark.parametrize(("dtype", "element"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(("tokens", "sequences"), [(128, 1), (96, 3)])
def test_llama_peak_is_the_closed_form(dtype: str, element: int, tokens: int, sequences: int) -> None:
    """Peak above weights = E*B*S*(4H + 3I) + cache + cos and sin + position ids: ground truth for fused attention."""
    measured = trial("llama", dtype=dtype, context_tokens=tokens, sequences=sequences, checks=()).measured
    cache = 2 * 2 * sequences * 2 * 16 * tokens * element
    positions = 2 * tokens * 16 * element + 8 * tokens
    peak = element * sequences * tokens * (4 * 64 + 3 * 256) + cache + positions
    assert measured["cache"] == cache
    assert measured["allocated_peak_bytes"] - measured["weights"] == peak


def test_sliding_layer_keeps_the_prompt_until_the_first_step(outcomes: dict[str, TrialOutcome]) -> None:
    assert outcomes["gemma3"].measured["cache_after_prefill_bytes"] == 2 * 2 * 2 * 16 * TOKENS * FLOAT32


def test_image_must_fit_into_the_context() -> None:
    with pytest.raises(Exception, match="one image takes 4 tokens"):
        trial("llava", context_tokens=4)


def test_request_survives_json() -> None:
    made = request("llava")
    assert msgspec.json.decode(msgspec.json.encode(made), type=TrialRequest) == made
    assert made.random_weights
    assert made.config["text_config"]["vocab_size"] == VOCAB
