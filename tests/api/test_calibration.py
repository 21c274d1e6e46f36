"""Trials of this machine correct its next estimates, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import fmkit
from benchmarks import calibration
from fmkit import __version__
from fmkit.api.kept_rates import kept_here
from fmkit.api.machines import this_machine
from fmkit.api.trial_evidence import listed, memory_trials, predicted_speed, rate_trials
from fmkit.api.trial_result import predicted_parts
from fmkit.catalog.load import load_catalog
from fmkit.errors import UnreadTrialsWarning
from fmkit.hardware.kept import machine_key
from fmkit.results.trial import EngineVersion, Sample, TrialResult, TrialSpeed
from fmkit.results.trial_setting import TrialMachine, TrialWorkload
from fmkit.results.vram import Estimate
from fmkit.trial.store import TrialStore
from fmkit.units import MIB

MODELS = ("gpt2", "distilgpt2", "smollm2-135m", "qwen2.5-0.5b", "smollm2-360m-instruct")
EXTRA_BYTES, SLOWER = 90 * MIB, 0.5
"""What the trials of this file take beside the estimate, and how fast they run of what is predicted."""


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path / "data"))


def estimate(model: str, *, context: int = 256, trials: bool = True, **options: Any) -> Estimate:
    return fmkit.vram(model, precision="fp32", context=context, trials=trials, **options).estimates[0]


def trial(model: str, said: Estimate, *, raw: Estimate | None = None, name: str = "", **changed: Any) -> TrialResult:
    """A trial in which the tensors are as estimated, the process takes more and the clock runs slower than the estimate without trials."""
    machine, raw = this_machine(load_catalog()), raw or said
    predicted = predicted_parts(said)
    measured = {
        part: predicted_parts(raw)[part] for part in ("weights", "cache", "activations", "allocated_peak_bytes")
    }
    measured["process_peak_bytes"] = raw.peak_bytes + EXTRA_BYTES
    assert said.speed is not None
    assert raw.speed is not None
    assert raw.speed.decode_tokens_per_s is not None
    assert raw.speed.ttft_s is not None
    rate, wait = raw.speed.decode_tokens_per_s.median * SLOWER, raw.speed.ttft_s.median / SLOWER
    kept = TrialResult(
        fmkit=__version__,
        catalog=load_catalog().date,
        id=name or f"id-{model}",
        date="2026-11-28T10:00:00+00:00",
        model=model,
        hub_id=None,
        engine=EngineVersion(name="transformers", version="5.23.0", libraries={"torch": "2.13.0"}),
        machine=TrialMachine(name=machine.name, key=machine_key(machine), device="CPU, 2 threads", busy_share=0.0),
        workload=TrialWorkload(
            context_tokens=said.context_tokens,
            sequences=1,
            layout=said.layout,
            cache_dtype=said.cache_dtype,
        ),
        precision="fp32",
        predicted=predicted,
        measured=measured,
        error={},
        unaccounted_bytes=0,
        speed=TrialSpeed(
            load_s=1.0,
            ttft_s=Sample(mean=wait, sd=0.0, n=3),
            decode_tokens_per_s=Sample(mean=rate, sd=0.0, n=3),
            predicted=msgspec.to_builtins(said.speed),
        ),
        output="",
        checks=(),
        random_weights=True,
    )
    return msgspec.structs.replace(kept, **changed)


def keep(*results: TrialResult) -> None:
    for one in results:
        TrialStore().add(one)


def five() -> list[TrialResult]:
    return [trial(model, estimate(model, trials=False)) for model in MODELS]


def runtime(found: Estimate) -> int:
    return sum(line.bytes for line in found.lines if line.kind == "runtime")


def test_a_model_that_was_never_tried() -> None:
    before = estimate("gpt2-medium", context=640)
    keep(*five())
    after = estimate("gpt2-medium", context=640)
    assert EXTRA_BYTES * 0.7 < runtime(after) - runtime(before) < EXTRA_BYTES * 1.05
    assert (after.weights_bytes, after.cache_bytes) == (before.weights_bytes, before.cache_bytes)
    (line,) = [line for line in after.lines if line.part == "runtime"]
    assert "measured here: 5 trials of 5 models" in line.reason
    assert all(f"id-{model}" in line.source for model in MODELS)
    assert before.speed is not None
    assert after.speed is not None
    assert before.speed.decode_tokens_per_s is not None
    assert after.speed.decode_tokens_per_s is not None
    ratio = after.speed.decode_tokens_per_s.median / before.speed.decode_tokens_per_s.median
    assert ratio == pytest.approx(SLOWER, rel=0.15)
    assert after.speed.basis == "measured-here"
    assert after.high_bytes / after.low_bytes < before.high_bytes / before.low_bytes


def test_what_is_not_this_machine_is_never_corrected() -> None:
    named: list[dict[str, Any]] = [{"gpu": "rtx-4090"}, {"memory": "24GiB"}, {"trials": False}]
    before = [estimate("gpt2", **options) for options in named]
    keep(*five())
    assert [estimate("gpt2", **options) for options in named] == before
    assert estimate("gpt2") != before[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"machine": TrialMachine(name="another", key="1 x another, 8 cores", device="CPU, 2 threads")},
        {"engine": EngineVersion(name="llama.cpp", version="b1")},
        {"workload": TrialWorkload(context_tokens=256, sequences=1, tensor_parallel=2)},
        {
            "measured": {"weights": 1},
            "speed": TrialSpeed(load_s=1.0, ttft_s=None, decode_tokens_per_s=None, predicted={}),
        },
    ],
    ids=["machine", "engine", "ranks", "no peak"],
)
def test_trials_that_do_not_count(changed: dict[str, Any]) -> None:
    before = estimate("gpt2-medium")
    keep(*(msgspec.structs.replace(one, **changed) for one in five()))
    assert estimate("gpt2-medium") == before


def test_older_versions_do_not_count_and_are_said() -> None:
    new, *old = five()
    older = EngineVersion(name="transformers", version="5.0.0", libraries={"torch": "2.13.0"})
    keep(new, *(msgspec.structs.replace(one, engine=older, date="2026-01-01T00:00:00+00:00") for one in old))
    (line,) = [line for line in estimate("gpt2-medium").lines if line.part == "runtime"]
    assert "1 trial of 1 model" in line.reason
    assert "left out: 4 with other versions or threads" in line.source


def test_speed_of_cut_models_and_of_another_release_is_left_out() -> None:
    cut, other, *_ = five()
    keep(
        msgspec.structs.replace(cut, workload=msgspec.structs.replace(cut.workload, layers=2)),
        msgspec.structs.replace(other, fmkit="0.0.1"),
    )
    found = estimate("gpt2-medium")
    assert found.speed is not None
    assert found.speed.calibration is None
    assert any("measured here: 2 trials" in line.reason for line in found.lines)


def test_a_corrected_prediction_is_not_corrected_twice() -> None:
    keep(*five())
    first = estimate("gpt2-medium")
    for number in range(3):  # each predicted with the trials before it
        raw = estimate(MODELS[number], trials=False)
        keep(trial(MODELS[number], estimate(MODELS[number]), raw=raw, name=f"again-{number}"))
    second = estimate("gpt2-medium")
    assert first.speed is not None
    assert second.speed is not None
    assert first.speed.calibration is not None
    assert second.speed.calibration is not None
    assert second.speed.calibration.decode_factor == pytest.approx(first.speed.calibration.decode_factor, rel=0.02)
    assert runtime(second) == pytest.approx(runtime(first), rel=0.01)


HOSTILE: list[dict[str, Any]] = [
    {"workload": TrialWorkload(context_tokens=1, sequences=1, layout="x" * 10_000, layers=10**9)},
    {"measured": {"weights": -(10**30), "allocated_peak_bytes": 10**40, "process_peak_bytes": 10**60}},
    {"measured": {"weights": 5, "allocated_peak_bytes": 1, "process_peak_bytes": 2**62}},
    {"speed": TrialSpeed(load_s=0.0, ttft_s=Sample(mean=1e-300, sd=0.0, n=1), decode_tokens_per_s=Sample(mean=1e300, sd=0.0, n=1), predicted={"decode_tokens_per_s": 7})},
    {"speed": TrialSpeed(load_s=0.0, ttft_s=Sample(mean=-1.0, sd=-5.0, n=1), decode_tokens_per_s=Sample(mean=1e-320, sd=0.0, n=1), predicted={})},
]  # fmt: skip


@pytest.mark.parametrize("changed", HOSTILE)
def test_a_hostile_record_changes_nothing(changed: dict[str, Any]) -> None:
    keep(*five())
    known = estimate("gpt2-medium")
    strange = msgspec.structs.replace(five()[0], id="strange", **changed)
    if "speed" in changed and not changed["speed"].predicted:
        strange = msgspec.structs.replace(
            strange, speed=msgspec.structs.replace(strange.speed, predicted=five()[0].speed.predicted)
        )
    keep(strange)
    found = estimate("gpt2-medium")
    assert runtime(found) == pytest.approx(runtime(known), rel=0.02)
    assert found.speed is not None
    assert known.speed is not None
    assert found.speed.decode_tokens_per_s == known.speed.decode_tokens_per_s


def test_a_damaged_record_costs_accuracy_and_no_answer() -> None:
    before = estimate("gpt2-medium")
    keep(*five())
    TrialStore().path.write_bytes(b"no database at all, and long enough to be looked at" * 20)
    with pytest.warns(UnreadTrialsWarning, match="not a database"):
        assert estimate("gpt2-medium") == before


def test_times_beside_other_programs_correct_nothing() -> None:
    """The same limit as in `fmkit accuracy`; memory is the process's own, and counts."""
    busy = [
        msgspec.structs.replace(one, machine=msgspec.structs.replace(one.machine, busy_share=0.3)) for one in five()
    ]
    rates, left_out = rate_trials(busy, load_catalog().date, "")
    assert not any(rates.values())
    assert listed(left_out) == "left out: 5 timed while others used more than 25% of the processors"
    assert len(memory_trials(busy)[0]) == len(busy)


def test_predicted_speed_is_read_by_type() -> None:
    (one, *_) = five()
    assert predicted_speed(one) is not None
    broken = msgspec.structs.replace(one, speed=msgspec.structs.replace(one.speed, predicted={"basis": "good"}))
    assert predicted_speed(broken) is None


def test_recommend_uses_them_too() -> None:
    before = fmkit.recommend("embedding", precision="fp32", trials=False)
    keep(*five())
    after = fmkit.recommend("embedding", precision="fp32")
    early, late = ({pick.model: pick.memory for pick in found.picks if pick.memory} for found in (before, after))
    both = early.keys() & late.keys()
    assert both
    assert all(runtime(late[model]) > runtime(early[model]) for model in both)


def test_the_benchmark_uses_what_a_busy_machine_measures_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held against its own estimates, rates that were thrown away would show as `measured first` and count for nothing."""
    monkeypatch.setattr("fmkit.hardware.light.busy_warning", lambda _: "this machine is busy: 2.0 processes")
    for name in ("light.read_bytes_per_s", "light.copy_bytes_per_s", "disk.read_bytes_per_s"):
        monkeypatch.setattr(f"fmkit.hardware.{name}", lambda _: 5e9)
    monkeypatch.setattr("fmkit.api.measure._asked_devices", lambda *_: ())
    monkeypatch.setattr("fmkit.api.measure._llama_cpp_rates", lambda *_: None)
    assert calibration.measured_rates() == "this machine is busy: 2.0 processes"
    kept = kept_here(this_machine(load_catalog()))
    assert kept is not None
    assert kept.copy_bytes_per_s == 5e9
