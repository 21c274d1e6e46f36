"""A runtime fitted to trials, held against trials of other models: the peaks that benchmarks/exactness.py measured."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import median

import msgspec
import pytest

from fmkit.catalog.load import load_catalog
from fmkit.machine import Machine
from fmkit.sizing.calibration import MemoryTrial, calibrated
from fmkit.sizing.engine import EngineSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate
from fmkit.sizing.runtime import runtime_cost
from fmkit.sizing.totals import totals
from fmkit.units import GIB, MIB

PEAKS = Path(__file__).parents[2] / "benchmarks" / "results" / "exactness.json"
HERE = Machine(name="CPU", origin="detected", device=None, count=1, memory_bytes=32 * GIB, usable_bytes=30 * GIB)


def measured() -> list[MemoryTrial]:
    """The workloads of the benchmark."""
    found = [cell for cell in json.loads(PEAKS.read_bytes())["peaks"]["cases"] if cell.get("process_peak_bytes")]
    return [
        MemoryTrial(
            id=str(number),
            model=cell["model"],
            allocated_bytes=cell["peak_bytes"],
            beside_bytes=cell["peak_bytes"] - cell["weights_bytes"],
            runtime_bytes=cell["process_peak_bytes"] - cell["peak_bytes"],
        )
        for number, cell in enumerate(found)
    ]


def engine() -> EngineSpec:
    return load_catalog().engines["transformers"]


def errors(facts: EngineSpec, trials: list[MemoryTrial]) -> list[float]:
    """Errors of the process's peak with the tensors as measured."""
    cost = runtime_cost(facts, HERE)
    assert cost is not None
    found = []
    for trial in trials:
        predicted = trial.allocated_bytes + cost.bytes + cost.beside_share * trial.beside_bytes
        found.append(abs(predicted / (trial.allocated_bytes + trial.runtime_bytes) - 1))
    return found


def elsewhere() -> EngineSpec:
    """The engine with a runtime that is wrong for the machine of the trials: 348 MiB and no scratch, as of an idle process."""
    facts = engine()
    wrong = tuple(
        msgspec.structs.replace(cost, bytes=348 * MIB, beside_share=0.0) if cost.vendor == "cpu" else cost
        for cost in facts.runtime
    )
    return msgspec.structs.replace(facts, runtime=wrong)


@pytest.mark.parametrize("seed", range(8))
def test_five_trials_make_other_models_more_exact(seed: int) -> None:
    trials = measured()
    models = random.Random(seed).sample(sorted({trial.model for trial in trials}), 5)
    kept = [random.Random(seed).choice([one for one in trials if one.model == model]) for model in models]
    others = [one for one in trials if one.model not in models]
    wrong, right = (median(errors(facts, others)) for facts in (elsewhere(), engine()))
    after = median(errors(calibrated(elsewhere(), "cpu", kept, when="2026-11-28"), others))
    assert after < 0.6 * wrong
    unharmed = median(errors(calibrated(engine(), "cpu", kept, when="2026-11-28"), others))
    assert unharmed < right + 0.03  # five draws may mislead a little where what is stated was right


def test_one_outlier_hardly_moves_it() -> None:
    trials = measured()[::13]
    wild = msgspec.structs.replace(trials[0], id="wild", model="wild", runtime_bytes=20 * GIB)
    without, beside = (
        runtime_cost(calibrated(engine(), "cpu", chosen, when=""), HERE) for chosen in (trials, [*trials, wild])
    )
    assert without is not None
    assert beside is not None
    assert abs(beside.bytes - without.bytes) < 8 * MIB
    assert abs(beside.beside_share - without.beside_share) < 0.02


def test_the_range_narrows_with_trials_and_holds_four_in_five() -> None:
    trials = measured()
    stated = engine().bounds_of("peak", "cpu")
    few, many = (
        calibrated(engine(), "cpu", chosen, when="").bounds_of("peak", "cpu") for chosen in (trials[:1], trials)
    )
    assert stated is not None
    assert few is not None
    assert many is not None
    assert stated[0] <= few[0]
    assert stated[1] > few[1] > many[1]
    found = calibrated(engine(), "cpu", trials, when="")
    cost = runtime_cost(found, HERE)
    assert cost is not None
    inside = 0
    for trial in trials:
        predicted = trial.allocated_bytes + cost.bytes + cost.beside_share * trial.beside_bytes
        inside += many[0] * predicted <= trial.allocated_bytes + trial.runtime_bytes <= many[1] * predicted
    assert inside >= 0.8 * len(trials)


def test_lines_still_sum_and_exact_parts_stay() -> None:
    spec = load_catalog().model("gpt2").spec
    assert spec is not None
    layout = load_catalog().layouts["plain-32"]
    facts = calibrated(engine(), "cpu", measured()[::7], when="2026-11-28")
    workload = Workload(context_tokens=512, sequences=4)
    plain, found = (estimate(spec, one, layout, "fp32", workload, HERE) for one in (engine(), facts))
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    assert found.low_bytes <= found.peak_bytes <= found.high_bytes
    assert found.high_bytes / found.low_bytes < plain.high_bytes / plain.low_bytes
    assert [line for line in found.lines if line.kind != "runtime"] == [
        line for line in plain.lines if line.kind != "runtime"
    ]
    assert {line.basis for line in found.lines if line.kind == "runtime"} == {"measured"}
    (quick,) = totals(spec, facts, [layout], [workload], HERE)
    assert (quick.steady_bytes, quick.peak_bytes) == (found.steady_bytes, found.peak_bytes)


def test_other_kinds_of_device_are_left_alone() -> None:
    assert calibrated(engine(), "unheard-of", measured(), when="") is engine()
    assert calibrated(engine(), "cpu", [], when="") is engine()
    found = calibrated(engine(), "cpu", measured(), when="")
    assert found.bounds_of("peak", "nvidia") == engine().bounds_of("peak", "nvidia")
