"""A trace without weights against a run with real tensors, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.errors import MissingExtraError, UsageError

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
from fmkit.trial.request import TrialRequest  # noqa: E402  needs torch
from fmkit.trial.trace import child  # noqa: E402
from fmkit.trial.trace.request import TraceCell, TraceRequest  # noqa: E402
from fmkit.trial.trace.run import trace  # noqa: E402
from tests.trial.tiny import CONFIGS, TEXT  # noqa: E402

MIXTURE = {
    "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], **TEXT, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
}  # fmt: skip

MODELS = {
    **{name: CONFIGS[name] for name in ("llama", "gpt2", "gemma3")},
    "mixture": ("decoder", MIXTURE),
    "whisper": CONFIGS["whisper"],
}


def real_peaks(kind: str, config: dict[str, Any], cell: TraceCell) -> tuple[int, int]:
    """Prefill and decode peaks beside the weights of the same model with random weights, really run."""
    from fmkit.trial.engines.transformers import TransformersEngine  # noqa: PLC0415

    request = TrialRequest(
        model="tiny",
        kind=kind,
        config=config,
        dtype=cell.dtype,
        context_tokens=cell.context_tokens,
        encoder_tokens=cell.encoder_tokens,
        sequences=cell.sequences,
    )
    engine = TransformersEngine(request)
    engine.load()
    prefill, decode = engine.prefill_memory(), engine.decode_memory()
    weights = prefill["weights"]
    return prefill["prefill_peak_bytes"] - weights, decode["decode_peak_bytes"] - weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_trace_counts_what_a_real_run_holds(name: str, dtype: str) -> None:
    kind, config = MODELS[name]
    cell = TraceCell(dtype=dtype, context_tokens=48, encoder_tokens=0, sequences=2)
    traced = trace(TraceRequest(model="tiny", kind=kind, config=config, cells=(cell,)), cell)
    prefill, _ = real_peaks(kind, config, cell)
    assert traced.prefill_bytes == pytest.approx(prefill, rel=0.01)
    assert traced.decode_bytes is not None


def test_the_same_trace_twice_is_the_same() -> None:
    kind, config = MODELS["llama"]
    cell = TraceCell(dtype="bfloat16", context_tokens=64, encoder_tokens=0, sequences=1)
    request = TraceRequest(model="tiny", kind=kind, config=config, cells=(cell, cell))
    first, second = child.run(request).traced
    assert (first.prefill_bytes, first.decode_bytes) == (second.prefill_bytes, second.decode_bytes)


def test_code_that_a_config_names_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    config = {**MODELS["llama"][1], "auto_map": {"AutoModelForCausalLM": f"{tmp_path}/evil.py--Evil"}}
    cell = TraceCell(dtype="bfloat16", context_tokens=8, encoder_tokens=0, sequences=1)
    assert child.run(TraceRequest(model="tiny", kind="decoder", config=config, cells=(cell,))).failure is None


def test_a_model_that_transformers_does_not_have_is_refused() -> None:
    config = {"model_type": "nobody_knows", "architectures": ["NobodyForCausalLM"]}
    cell = TraceCell(dtype="bfloat16", context_tokens=8, encoder_tokens=0, sequences=1)
    failure = child.run(TraceRequest(model="tiny", kind="decoder", config=config, cells=(cell,))).failure
    assert failure is not None
    assert "nobody_knows" in failure.message


def test_vram_takes_the_traced_peak(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**MODELS["llama"][1], "dtype": "bfloat16"}), encoding="utf-8")
    said: list[str] = []
    answer = vram(str(path), precision="fp16", context=64, trace=True, progress=said.append)
    lines = {line.part: line for line in answer.estimates[0].lines}
    assert lines["activations: prefill, traced"].basis == "measured"
    formula = vram(str(path), precision="fp16", context=64).estimates[0]
    assert answer.estimates[0].peak_bytes == pytest.approx(formula.peak_bytes, rel=1e-4)
    assert any("without weights: 1 workload ..." in line for line in said)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("llama-3.2-1b", {"engine": "vllm"}, "vllm has its own"),
        ("llava-1.5-7b-hf", {}, "image"),
        ("llama-3.2-1b", {"gpu": "rtx-4090:2"}, "one device"),
    ],
)
def test_what_has_no_trace_is_refused(model: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        vram(model, trace=True, context=64, **options)


def test_without_pytorch_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingExtraError) as caught:
        vram("llama-3.2-1b", trace=True, context=64)
    assert caught.value.next_command == "pip install 'fmkit[try]'"
