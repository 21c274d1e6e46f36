"""The fit times passes as the program does, and what is left out of it is judged only where the program would print it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed.fitting import Problem
from benchmarks.speed.tables import expected_outside, grouped
from benchmarks.speed.validation import held_out
from fmkit.catalog.load import Catalog
from fmkit.speed.efficiency import SpeedFit
from tests.speed.test_cases import one

ROWS = (
    ("vLLM", "0.11.1", "h100-sxm5-80gb"), ("vLLM", "0.11.1", "a100-sxm4-80gb"), ("vLLM", "0.11.1", "rtx-4090"),
    ("SGLang", "0.5", "h100-sxm5-80gb"), ("SGLang", "0.5", "a100-sxm4-80gb"), ("MLC-LLM", "", "rtx-4090"),
)  # fmt: skip
"""Engine, version and device: two engines on several devices, one on a single device."""


def test_engines_without_measurements_are_not_printed(catalog: Catalog) -> None:
    cases = [
        one(
            catalog, measures="decode", engine=engine, engine_version=version, accelerator_id=device, decode_tok_s_per_seq=rate,
            prompt_tokens=1, gen_tokens=64, split_group=f"llama-3-8b @ {device}",
        )
        for engine, version, device in ROWS
        for rate in (30.0, 32.0)
    ]  # fmt: skip
    problem = Problem(cases)
    start = problem.fit(np.ones(len(cases), dtype=bool))
    device, engine = (held_out(problem, scheme, start) for scheme in ("device", "engine"))
    assert not engine.printed().any()
    assert engine.predicted().all()
    alone = np.array([case.setting.engine == "mlc-llm" for case in cases])
    assert device.printed().tolist() == (~alone).tolist()
    inside = np.ones(len(cases), dtype=bool)
    shown = {group.group: group for group in grouped(device, inside)}
    assert shown["decode"].rows == len(cases) - alone.sum()
    assert all(group.printed for group in shown.values())
    assert not any(group.printed for group in grouped(engine, inside))
    assert expected_outside(device, inside).rows == len(cases) - alone.sum()


BATCH = {"measures": "e2e", "throughput_tok_s": 900.0, "throughput_kind": "output", "batch": 8, "prompt_tokens": 3000, "gen_tokens": 100}  # fmt: skip
STEPS = {"measures": "decode", "decode_tok_s_per_seq": 20.0, "prompt_tokens": 1, "gen_tokens": 64}
RUNS = (
    {**BATCH, "engine": "vLLM", "count": 4},
    {**BATCH, "engine": "transformers", "hub_id": "deepseek-ai/DeepSeek-V2-Lite"},
    {**STEPS, "engine": "transformers", "hub_id": "mistralai/Mixtral-8x7B-v0.1", "batch": 4},
    {**STEPS, "engine": "llama.cpp", "quant": "GGUF Q4_K_M", "hub_id": "meta-llama/Meta-Llama-3-70B", "accelerator_id": "rtx-4090"},
    {"measures": "prefill", "engine": "llama.cpp", "quant": "GGUF F16", "prefill_tok_s": 1e4, "prompt_tokens": 2048, "count": 2},
)  # fmt: skip
"""Ranks, experts, latents that are expanded, launches that overlap, weights beside a card, and prompts over stages."""


def test_the_fit_takes_a_case_for_as_long_as_the_program_does(catalog: Catalog) -> None:
    """Two ways to one number: arrays over all cases, and one pass after the other with the effects looked up by name."""
    problem = Problem([one(catalog, **facts) for facts in RUNS for _ in range(2)])
    effects = np.random.default_rng(5).normal(0, 0.4, len(problem.keys))
    named: dict[str, dict[str, float]] = {}
    for (phase, part, scope), place in problem.keys.items():
        named.setdefault(f"{phase} {part}", {})[scope] = float(effects[place])
    fit = SpeedFit(date="", rows=0, effects=named, measured={}, spreads={})
    for case, seconds in zip(problem.cases, problem.predict(effects)[0], strict=True):
        reads = [fit.pass_s(tower, case.setting, "prefill") or 0.0 for tower in case.reads]
        step = 0.0 if case.step is None else fit.pass_s(case.step, case.setting, "decode") or 0.0
        assert case.read_share * sum(reads) + case.steps * step + case.host_s == pytest.approx(seconds)
