"""Kept trials beside published measurements."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fmkit.api.accuracy.answer import accuracy
from fmkit.api.accuracy.comparison import Comparison
from fmkit.api.accuracy.trials import trial_comparisons
from fmkit.catalog.load import load_catalog
from fmkit.results.accuracy import LeftOut
from fmkit.results.trial import EngineVersion, Sample, TrialResult, TrialSpeed
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
from fmkit.trial.store import TrialStore

TRIAL = TrialResult(
    fmkit="0.1.0",
    catalog="2026-11-25",
    id="one",
    date="2026-11-27T10:00:00+00:00",
    model="gpt2",
    hub_id=None,
    engine=EngineVersion(name="transformers", version="5.23.0"),
    machine=TrialMachine(name="8 cores"),
    workload=TrialWorkload(context_tokens=512, sequences=1),
    precision="fp16",
    predicted={"weights": 100, "cache": 50, "allocated_peak_bytes": 160, "process_peak_bytes": 500},
    measured={"weights": 100, "cache": 50, "allocated_peak_bytes": 170, "process_peak_bytes": 600},
    error={},
    unaccounted_bytes=10,
    speed=TrialSpeed(
        load_s=1.0,
        ttft_s=None,
        decode_tokens_per_s=Sample(mean=20.0, sd=1.0, n=3),
        predicted={
            **dict.fromkeys(("ttft_s", "prefill_tokens_per_s", "throughput_tokens_per_s")),
            "decode_tokens_per_s": {"low": 10.0, "median": 25.0, "high": 30.0},
            "basis": "class",
            "bound": "bandwidth",
            "reason": "",
        },
    ),
    output="",
    checks=(),
    random_weights=True,
)


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrialStore:
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path))
    return TrialStore()


def test_a_kept_trial_is_compared_by_part(own_store: TrialStore) -> None:
    own_store.add(TRIAL)
    found = {each.quantity: each for each in trial_comparisons(load_catalog()) if isinstance(each, Comparison)}
    assert set(found) == {"weights", "cache", "total", "process", "decode"}
    assert found["process"].error == pytest.approx(500 / 600 - 1)
    assert found["total"].error == pytest.approx(160 / 170 - 1)
    assert (found["decode"].predicted, found["decode"].covered) == (25.0, True)
    assert (found["decode"].engine, found["decode"].device) == ("transformers", "8 cores")


def test_a_trial_without_speed_or_prediction(own_store: TrialStore) -> None:
    speed = TrialSpeed(load_s=1.0, ttft_s=None, decode_tokens_per_s=None, predicted={})
    own_store.add(msgspec.structs.replace(TRIAL, predicted={}, speed=speed))
    assert list(trial_comparisons(load_catalog())) == []


def test_no_trials() -> None:
    assert list(trial_comparisons(load_catalog())) == []


@pytest.mark.parametrize(("share", "counts"), [(0.6, False), (0.1, True), (None, True)])
def test_speed_on_a_busy_machine_is_left_out_and_memory_counts(
    own_store: TrialStore, share: float | None, counts: bool
) -> None:
    own_store.add(msgspec.structs.replace(TRIAL, machine=msgspec.structs.replace(TRIAL.machine, busy_share=share)))
    found = list(trial_comparisons(load_catalog()))
    assert {each.quantity for each in found if isinstance(each, Comparison)} >= {"weights", "cache", "total", "process"}
    (speed,) = [each for each in found if each.quantity == "decode"]
    assert isinstance(speed, Comparison) is counts
    if isinstance(speed, LeftOut):
        assert "other programs" in speed.reason


def test_the_answer_says_why_a_rate_is_left_out(own_store: TrialStore) -> None:
    own_store.add(msgspec.structs.replace(TRIAL, machine=msgspec.structs.replace(TRIAL.machine, busy_share=0.6)))
    found = accuracy()
    assert {group.quantity for group in found.own} == {"weights", "cache", "total", "process"}
    assert [left.quantity for left in found.left_out if left.measurement_id == TRIAL.id] == ["decode"]
