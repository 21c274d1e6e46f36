"""A sweep measures each workload as a trial of its own would, with the model loaded once, and goes on after a failure."""

from __future__ import annotations

import pytest

from fmkit.trial.engines.transformers import TransformersEngine
from fmkit.trial.items import Reply
from fmkit.trial.request import Cell
from tests.trial.tiny import trial

COUNTED = ("weights", "cache", "activations", "allocated_peak_bytes", "prefill_peak_bytes", "decode_peak_bytes")
CELLS = (
    Cell(context_tokens=96, sequences=1, decode_steps=2),
    Cell(context_tokens=48, sequences=3, decode_steps=2),
)


@pytest.mark.parametrize("name", ["llama", pytest.param("gemma3", marks=pytest.mark.full)])
def test_each_workload_as_if_it_were_alone(name: str) -> None:
    swept = trial(name, further=CELLS)
    assert len(swept.further) == len(CELLS)
    for cell, found in zip(CELLS, swept.further, strict=True):
        alone = trial(
            name, context_tokens=cell.context_tokens, sequences=cell.sequences, decode_steps=cell.decode_steps
        )
        assert found.failure is None
        assert {part: found.measured[part] for part in COUNTED} == {part: alone.measured[part] for part in COUNTED}
        assert len(found.timing.ttft_s) == len(alone.timing.ttft_s)


def test_without_repeats_nothing_is_timed() -> None:
    found = trial("llama", repeat=0, further=CELLS)
    assert found.timing.ttft_s == found.further[0].timing.ttft_s == ()
    assert found.measured["allocated_peak_bytes"] == trial("llama").measured["allocated_peak_bytes"]


def test_what_was_measured_outlives_a_failing_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: TransformersEngine) -> Reply:
        raise RuntimeError("Cannot set version_counter for inference tensor")

    monkeypatch.setattr(TransformersEngine, "answer", fails)
    found = trial("llama", checks=("finite-logits", "deterministic"), further=CELLS)
    assert found.measured["allocated_peak_bytes"] == trial("llama").measured["allocated_peak_bytes"]
    assert found.output_error == "RuntimeError: Cannot set version_counter for inference tensor"
    assert {check.passed for check in found.checks} == {None}
    assert all(one.failure is None for one in found.further)


def test_goes_on_after_a_workload_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = TransformersEngine.decode_memory

    def short_of_memory(engine: TransformersEngine) -> dict[str, int]:
        if engine.request.context_tokens == CELLS[0].context_tokens:
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")
        return decode(engine)

    monkeypatch.setattr(TransformersEngine, "decode_memory", short_of_memory)
    first, second = trial("llama", further=CELLS).further
    assert first.failure is not None
    assert (first.failure.kind, first.failure.phase) == ("out-of-memory", "decode")
    assert second.failure is None
    assert second.measured["cache"] > 0
