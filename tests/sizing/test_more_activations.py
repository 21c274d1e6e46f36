"""Activations of the lineages that only the fixtures hold, against traces of the real implementations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sizing.test_activations import inputs_for, predicted_peak
from tests.sizing.test_cache import text_only

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from tests.sizing import tracing  # noqa: E402  needs torch

FIXTURES = Path(__file__).parents[1] / "fixtures" / "configs"
EXACT = ("granite", "hunyuan_v1_dense", "ministral3", "seed_oss", "smollm3")
CLOSE = ("glm4_moe", "minicpm3", "minimax_m2", "olmo2", "olmo3", "olmoe", "starcoder2")


def fixture_of(model_type: str) -> str:
    """The first fixture of a type."""
    return next(
        path.stem
        for path in sorted(FIXTURES.glob("*.json"))
        if json.loads(path.read_text("utf-8"))["model_type"] == model_type
    )


@pytest.mark.parametrize(("sequences", "tokens"), [(1, 512), (2, 1024)])
@pytest.mark.parametrize(
    ("model_type", "tolerance"), [*((kind, 1e-6) for kind in EXACT), *((kind, 0.011) for kind in CLOSE)]
)
def test_prefill_peak(model_type: str, tolerance: float, sequences: int, tokens: int) -> None:
    config = text_only(fixture_of(model_type), 3)
    config.pop("quantization_config", None)
    real = tracing.forward_peak(config, inputs_for(config, sequences, tokens, torch.bfloat16), dtype=torch.bfloat16)
    predicted = predicted_peak(config, sequences, tokens, 2, "sdpa")
    assert predicted == pytest.approx(real, rel=tolerance)
