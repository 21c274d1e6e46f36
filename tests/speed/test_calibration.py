"""Factors from trials: they come out as they were put in, and say nothing of what is far away."""

from __future__ import annotations

import random
from math import exp

import pytest

from fmkit.speed.calibration import RateTrial, corrected
from fmkit.speed.estimate import Range, SpeedEstimate


def speed(rate: float = 10.0, spread: float = 4.0) -> SpeedEstimate:
    wide = Range(low=rate / spread, median=rate, high=rate * spread)
    wait = Range(low=1 / wide.high, median=1 / rate, high=1 / wide.low)
    return SpeedEstimate(
        ttft_s=wait,
        prefill_tokens_per_s=wide,
        decode_tokens_per_s=wide,
        throughput_tokens_per_s=wide,
        basis="extrapolated",
        bound="bandwidth",
        reason="the model",
    )


def trials(factor: float, count: int, *, predicted: float = 10.0, noise: float = 0.1) -> list[RateTrial]:
    draw = random.Random(count)
    return [
        RateTrial(
            id=f"t{number}-{int(decoding)}",
            model=f"m{number}",
            decoding=decoding,
            measured_per_s=predicted * factor * exp(draw.gauss(0, noise)),
            predicted_per_s=predicted,
        )
        for number in range(count)
        for decoding in (True, False)
    ]


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_many_trials_are_believed(factor: float) -> None:
    found = corrected(speed(), trials(factor, 12))
    assert found.calibration is not None
    assert found.calibration.decode_factor == pytest.approx(factor, rel=0.1)
    assert found.calibration.models == 12
    assert found.decode_tokens_per_s is not None
    assert found.ttft_s is not None
    assert found.decode_tokens_per_s.median == pytest.approx(10 * factor, rel=0.1)
    assert found.ttft_s.median == pytest.approx(0.1 / factor, rel=0.1)
    assert found.ttft_s.low < found.ttft_s.median < found.ttft_s.high
    assert found.basis == "measured-here"
    assert found.calibration.without == "extrapolated"
    assert "12 models" in found.reason


def test_one_trial_moves_a_vague_prediction_more_than_a_sure_one() -> None:
    vague, sure = (corrected(speed(spread=spread), trials(0.5, 1, noise=0)) for spread in (4.0, 1.2))
    assert vague.calibration is not None
    assert sure.calibration is not None
    assert vague.calibration.decode_factor is not None
    assert sure.calibration.decode_factor is not None
    assert 0.5 < vague.calibration.decode_factor < 0.6
    assert 0.8 < sure.calibration.decode_factor < 1


def test_one_outlier_hardly_counts() -> None:
    wild = RateTrial(id="w", model="w", decoding=True, measured_per_s=0.01, predicted_per_s=10.0)
    found = corrected(speed(), [*trials(0.5, 5), wild])
    assert found.calibration is not None
    assert found.calibration.decode_factor == pytest.approx(0.5, rel=0.15)
    assert found.decode_tokens_per_s is not None
    assert found.decode_tokens_per_s.high < 10


def test_what_is_far_away_changes_nothing() -> None:
    assert corrected(speed(), trials(0.5, 3, predicted=10_000.0)) == speed()
    assert corrected(speed(), []) == speed()


def test_the_range_narrows_and_holds_what_was_measured() -> None:
    kept = trials(0.5, 5, noise=0.3)
    found = corrected(speed(), kept).decode_tokens_per_s
    assert found is not None
    assert found.high / found.low < 16
    inside = sum(found.low <= one.measured_per_s <= found.high for one in kept if one.decoding)
    assert inside >= 4


def test_workloads_of_one_model_count_together() -> None:
    one = trials(0.5, 1, noise=0)
    same = [
        RateTrial(id=f"{trial.id}{n}", model="m0", decoding=trial.decoding, measured_per_s=5, predicted_per_s=10)
        for trial in one
        for n in range(9)
    ]
    found = [corrected(speed(spread=1.5), chosen).calibration for chosen in (one, same)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].decode_factor == found[1].decode_factor
