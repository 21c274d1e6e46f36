"""Activations of the lineages beside those of test_activations, against traces of the real implementations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fmkit.sizing.implementations import IMPLEMENTATIONS
from tests.configs import published
from tests.sizing.test_activations import CLOSE as TESTED_CLOSE
from tests.sizing.test_activations import EXACT as TESTED_EXACT
from tests.sizing.test_activations import inputs_for, predicted_peak, shortened
from tests.sizing.test_cache import text_only

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: E402  needs torch

from tests.meta_model import RENAMED  # noqa: E402
from tests.sizing import tracing  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:`rope_scaling` is deprecated:FutureWarning"
)  # GPT-J's configuration names it

SHAPES = ((1, 512), (2, 1024))
SHORTER = (SHAPES[0], pytest.param(*SHAPES[1], marks=pytest.mark.full))
EXACT = (
    "granite", "hunyuan_v1_dense", "ministral3", "seed_oss", "smollm3", "lfm2", "cohere2", "distilbert", "electra", "nomic_bert",
)  # fmt: skip
CLOSE = (
    # name, layers, the largest difference: it shrinks with depth, for the cache of the layers after the peak is not there yet
    ("albert", 3, 0.01), ("bamba", 10, 0.013), ("biogpt", 3, 0.001), ("bloom", 3, 0.015), ("deepseek_v2", 3, 0.027),
    ("deepseek_v4", 4, 0.022), ("ernie4_5", 3, 0.027), ("ernie4_5_moe", 3, 0.004), ("falcon_h1", 3, 0.025),
    ("gemma3n_text", 30, 0.005), ("gemma4_text", 20, 0.005), ("glm", 3, 0.002), ("glm4", 3, 0.002), ("glm4_moe", 3, 0.002),
    ("glm_moe_dsa", 3, 0.027), ("gpt_neox", 3, 0.003), ("gptj", 3, 0.005), ("granitemoehybrid", 3, 0.02), ("hunyuan_v1_moe", 3, 0.002),
    ("llama4_text", 4, 0.001), ("mamba2", 3, 0.008), ("mimo_v2_flash", 3, 0.003), ("minicpm3", 3, 0.012), ("minimax", 8, 0.001),
    ("minimax_m2", 3, 0.003), ("minimax_m3", 4, 0.002), ("mpt", 3, 0.003), ("nemotron_h", 8, 0.01), ("olmo2", 3, 0.003), ("olmo3", 3, 0.008),
    ("olmoe", 3, 0.003), ("opt", 3, 0.001), ("pegasus", 3, 0.001), ("phi", 3, 0.002), ("qwen3_5_text", 24, 0.03),
    ("qwen3_next", 4, 0.026), ("stablelm", 3, 0.003), ("starcoder2", 3, 0.001), ("t5gemma", 3, 0.001),
)  # fmt: skip
IN_FLOAT32 = ("bamba", "bloom", "ernie4_5", "glm", "gptj", "mamba2", "minicpm3", "mpt", "phi", "qwen3_5_text")
"""Where copies made to convert to float32 are part of the peak: a float32 model has none."""


def fixture_of(model_type: str) -> str:
    """The first config of a type, or else the first with a language model of it."""
    within: str | None = None
    for path in published():
        config = json.loads(path.read_text("utf-8"))
        if config.get("model_type") == model_type:
            return path.stem
        if within is None and (config.get("text_config") or {}).get("model_type") == model_type:
            within = path.stem
    assert within is not None, model_type
    return within


def config_of(model_type: str, layers: int) -> dict[str, Any]:
    """The first layers of the language model of the first config of a type, with the class that runs it alone."""
    config = text_only(fixture_of(model_type), layers)
    for key in ("quantization_config", "rope_scaling"):
        if not config.get(key) or key == "quantization_config":
            config.pop(key, None)
    for key in ("intermediate_size", "activation_sparsity_pattern"):
        if isinstance(config.get(key), list):
            config[key] = config[key][:layers]
    if model_type in ("pegasus", "t5gemma"):
        return {**config, "is_encoder_decoder": True}
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config["model_type"])
    if not config.get("architectures") or (causal and "ConditionalGeneration" in config["architectures"][0]):
        config["architectures"] = [causal[0] if isinstance(causal, tuple) else causal]
    return config


def compare(
    model_type: str, layers: int, sequences: int, tokens: int, tolerance: float, dtype: Any = torch.bfloat16
) -> None:
    config = config_of(model_type, layers)
    tokens = min(tokens, 512) if config["model_type"] in ("albert", "distilbert", "electra") else tokens
    real = tracing.forward_peak(config, inputs_for(config, sequences, tokens, dtype), dtype=dtype)
    predicted = predicted_peak(config, sequences, tokens, dtype.itemsize, "sdpa")
    print(
        f"{model_type} {sequences} x {tokens}: predicted {predicted:,} B, traced {real:,} B, {predicted / real - 1:+.3%}"
    )
    assert predicted == pytest.approx(real, rel=tolerance)


@pytest.mark.parametrize(("sequences", "tokens"), SHAPES)
@pytest.mark.parametrize("model_type", EXACT)
def test_prefill_peak_is_exact(model_type: str, sequences: int, tokens: int) -> None:
    compare(model_type, 3, sequences, tokens, 1e-5)


@pytest.mark.parametrize(("sequences", "tokens"), SHORTER)
@pytest.mark.parametrize(("model_type", "layers", "tolerance"), CLOSE)
def test_prefill_peak_is_close(model_type: str, layers: int, tolerance: float, sequences: int, tokens: int) -> None:
    compare(model_type, layers, sequences, tokens, tolerance)


@pytest.mark.parametrize("model_type", IN_FLOAT32)
def test_prefill_peak_in_float32(model_type: str) -> None:
    layers = next(layers for name, layers, _ in CLOSE if name == model_type)
    compare(model_type, layers, 2, 512, 0.034, torch.float32)


def test_a_prompt_longer_than_the_window_with_scores() -> None:
    """Eager attention with sinks holds all scores whatever the window."""
    compare("mimo_v2_flash", 3, 1, 2048, 0.003)


def test_every_row_of_multiples_is_held_against_a_trace() -> None:
    """A row without a case would be unproven; the named ones are blocks of models that a trace can't run alone."""
    catalog = {shortened(name)["model_type"] for name in (*TESTED_EXACT, *TESTED_CLOSE)}
    tested = {RENAMED.get(name, name) for name in (*EXACT, *(name for name, _, _ in CLOSE), *catalog)}
    beside = {
        "siglip", "blip_2_vision_model", "mllama_vision_model", "blip_2_qformer", "mllama_text_model", "gemma3_text", "clip", "t5-gated",
        "xlm-roberta", "m2m_100", "falcon_mamba", "jamba", "qwen3_5_moe_text", "mt5", "deepseek_v32", "falcon-one-norm",
    }  # fmt: skip
    assert set(IMPLEMENTATIONS) - tested <= beside
