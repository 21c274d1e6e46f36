"""What is left out of the fit is judged only where the program would print it."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.fitting import Problem
from benchmarks.speed.tables import expected_outside, grouped
from benchmarks.speed.validation import held_out
from fmkit.catalog.load import Catalog
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
