"""Activations against traces of the real implementations: every live storage of a forward pass, counted with fake tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.model.architectures import read
from fmkit.sizing.activations import Activations
from fmkit.sizing.cache import cache_bytes, prompt_kept_bytes
from fmkit.sizing.estimate import Attention, Workload
from fmkit.sizing.forward import Pass

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from tests.sizing import tracing  # noqa: E402  needs torch

CONFIGS = Path(__file__).parents[2] / "catalog" / "configs"
LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
SHAPES = ((1, 128), (1, 512), (2, 1024))
SHORTER = (*SHAPES[:2], pytest.param(*SHAPES[2], marks=pytest.mark.full))

EXACT = (
    "meta-llama--Llama-3.2-1B-Instruct", "Qwen--Qwen2.5-0.5B", "Qwen--Qwen3-0.6B", "microsoft--Phi-3-mini-4k-instruct",
    "microsoft--phi-4", "google--gemma-2b", "google--gemma-2-2b", "google--gemma-3-1b-it", "openai-community--gpt2",
    "CohereLabs--aya-23-8B", "mistralai--Mistral-7B-v0.1", "google-bert--bert-base-uncased", "FacebookAI--roberta-base",
    "facebook--bart-base", "facebook--nllb-200-distilled-600M", "sentence-transformers--all-mpnet-base-v2",
)  # fmt: skip
CLOSE = (
    "mistralai--Mixtral-8x7B-v0.1", "Qwen--Qwen3-30B-A3B", "openai--gpt-oss-20b", "deepseek-ai--DeepSeek-V3", "tiiuae--falcon-7b",
    "tiiuae--falcon-40b", "microsoft--deberta-v3-base", "google-t5--t5-base", "google--flan-t5-base", "openai--whisper-base",
    "state-spaces--mamba-130m-hf",
)  # fmt: skip


def shortened(name: str, layers: int = 3) -> dict[str, Any]:
    """The config with its true widths and a few layers: what one block holds does not depend on their number."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    for key in LAYER_KEYS:
        if config.get(key):
            config[key] = min(config[key], layers)
    if config.get("layer_types"):
        config["layer_types"] = config["layer_types"][:layers]
    return config


def inputs_for(config: dict[str, Any], sequences: int, tokens: int, dtype: Any) -> dict[str, Any]:
    ids = torch.ones(sequences, tokens, dtype=torch.long)
    start = torch.ones(sequences, 1, dtype=torch.long)
    if config["model_type"] == "whisper":
        mels = torch.zeros(sequences, config["num_mel_bins"], 3000, dtype=dtype)
        return {"input_features": mels, "decoder_input_ids": start}
    if config.get("is_encoder_decoder"):
        return {"input_ids": ids, "decoder_input_ids": start}
    return {"input_ids": ids}


def predicted_peak(
    config: dict[str, Any], sequences: int, tokens: int, element_bytes: int, attention: Attention
) -> int:
    spec = read(config, where="test")
    encoder = spec.stack("encoder") or spec.stack("audio")
    encodes = encoder is not None and spec.cached_stack is not None
    encoder_tokens = (encoder.fixed_tokens or tokens) if encoder is not None and encodes else 0
    held = 1 if encodes else tokens
    workload = Workload(context_tokens=held, sequences=sequences, attention=attention, images=0)
    run = Pass(workload=workload, encoder_tokens=encoder_tokens, element_bytes=element_bytes, on_cpu=True)
    cache = cache_bytes(spec, held, encoder_tokens, sequences, element_bytes)
    kept = prompt_kept_bytes(spec, held, sequences, element_bytes)
    moments = Activations(spec, run.kind).prefill(run)
    return max(moment.bytes + (cache + kept if moment.holds_cache else 0) for moment in moments)


def compare(
    name: str, sequences: int, tokens: int, *, dtype: Any = None, attention: Attention = "sdpa", tolerance: float
) -> None:
    config = shortened(name)
    spec = read(config, where="test")
    if spec.kind == "encoder" and spec.max_context_tokens:
        tokens = min(tokens, spec.max_context_tokens)
    dtype = dtype or torch.bfloat16
    real = tracing.forward_peak(
        config,
        inputs_for(config, sequences, tokens, dtype),
        dtype=dtype,
        attention="eager" if attention == "eager" else None,
    )
    predicted = predicted_peak(config, sequences, tokens, dtype.itemsize, attention)
    print(f"{name} {sequences} x {tokens}: predicted {predicted:,} B, traced {real:,} B, {predicted / real - 1:+.3%}")
    assert predicted == pytest.approx(real, rel=tolerance)


@pytest.mark.parametrize(("sequences", "tokens"), SHAPES)
@pytest.mark.parametrize("name", EXACT)
def test_prefill_peak_is_exact(name: str, sequences: int, tokens: int) -> None:
    # transformers keeps up to three 8-byte scalars alive beside the tensors that scale
    compare(name, sequences, tokens, tolerance=1e-5)


@pytest.mark.parametrize(("sequences", "tokens"), SHORTER)
@pytest.mark.parametrize("name", CLOSE)
def test_prefill_peak_is_close(name: str, sequences: int, tokens: int) -> None:
    compare(name, sequences, tokens, tolerance=0.0125)


@pytest.mark.parametrize("name", [*EXACT, "google-t5--t5-base", "openai--whisper-base"])
def test_prefill_peak_in_float32(name: str) -> None:
    compare(name, 2, 256, dtype=torch.float32, tolerance=1e-3)


@pytest.mark.parametrize("name", ["meta-llama--Llama-3.2-1B-Instruct", "mistralai--Mistral-7B-v0.1"])
def test_eager_attention_holds_the_score_matrices(name: str) -> None:
    compare(name, 2, 1024, attention="eager", tolerance=1e-3)
    compare(name, 2, 1024, attention="eager", dtype=torch.float32, tolerance=0.025)


def test_a_window_mask_shows_past_the_window() -> None:
    compare("mistralai--Mistral-7B-v0.1", 1, 6144, tolerance=1e-4)
    compare("google--gemma-3-1b-it", 1, 2048, tolerance=1e-4)


@pytest.mark.parametrize(
    "name",
    ["Qwen--Qwen2.5-0.5B", "microsoft--Phi-3-mini-4k-instruct", "google--gemma-3-1b-it", "openai-community--gpt2"],
)
def test_a_model_cut_to_one_layer(name: str) -> None:
    """Its residual is the embedding itself; GPT-2, which adds positions to that, holds both whatever its depth."""
    config = shortened(name, layers=1)
    real = tracing.forward_peak(config, inputs_for(config, 1, 128, torch.float32), dtype=torch.float32)
    assert predicted_peak(config, 1, 128, 4, "sdpa") == pytest.approx(real, rel=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
def test_falcon_peaks_in_its_feed_forward(layers: int) -> None:
    """At a short prompt in float32; a longer one peaks in the attention, whose scores PyTorch makes on a CPU."""
    config = shortened("tiiuae--falcon-7b", layers)
    real = tracing.forward_peak(config, inputs_for(config, 1, 128, torch.float32), dtype=torch.float32)
    assert predicted_peak(config, 1, 128, 4, "sdpa") == pytest.approx(real, rel=1e-3)
