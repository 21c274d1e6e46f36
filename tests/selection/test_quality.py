from __future__ import annotations

from typing import Any

import pytest

from fmkit.model.quality import PointsLost
from fmkit.selection.estimated_scores import EstimatedScore
from fmkit.selection.facts import TaskBenchmark
from fmkit.selection.quality import chosen_score, judge
from fmkit.selection.score_items import matches


def test_independent_scores_come_before_a_vendors(build: Any) -> None:
    benchmark = TaskBenchmark(benchmark="A", weight=1, reason="")
    scores = [
        build.score("A", 90, reported_by="vendor"),
        build.score("A", 70),
        build.score("A", 80, reported_by="other-vendor"),
    ]
    assert chosen_score(scores, benchmark).score == 70  # type: ignore[union-attr]
    assert chosen_score([scores[2], scores[0]], benchmark).score == 90  # type: ignore[union-attr]


def test_of_several_scores_the_lower_median_speaks(build: Any) -> None:
    benchmark = TaskBenchmark(benchmark="A", weight=1, reason="")
    assert chosen_score([build.score("A", x) for x in (90, 10, 50, 60)], benchmark).score == 50  # type: ignore[union-attr]


def test_scores_of_other_variants_are_not_mixed_in(build: Any) -> None:
    benchmark = TaskBenchmark(benchmark="A", weight=1, reason="", variants=("5-shot",))
    assert chosen_score([build.score("A", 50, variant="0-shot CoT")], benchmark) is None
    assert not matches("15-shot", ["5-shot"])
    assert matches("0-shot CoT", ["0-shot*"])


def test_a_model_without_scores_has_no_quality(build: Any) -> None:
    models = [build.candidate("a", scores=(build.score("A", 50),)), build.candidate("b", scores=(build.score("A", 60),)),
              build.candidate("none")]  # fmt: skip
    judged = judge(build.task(), models)
    assert judged["none"].value is None
    assert judged["none"].missing == ("A", "B")
    assert (judged["a"].value, judged["b"].value) == (0.0, 1.0)


def test_a_benchmark_with_one_score_says_nothing(build: Any) -> None:
    judged = judge(build.task(), [build.candidate("a", scores=(build.score("A", 99),)), build.candidate("b")])
    assert judged["a"].value is None


def test_error_rates_are_turned_round(build: Any) -> None:
    task = build.task(benchmarks=(TaskBenchmark(benchmark="WER", weight=1, reason="", higher_is_better=False),))
    models = [build.candidate(name, scores=(build.score("WER", value),)) for name, value in (("good", 5), ("bad", 20))]
    judged = judge(task, models)
    assert judged["good"].value == 1.0
    assert judged["bad"].value == 0.0


def test_average_among_strong_models_beats_average_among_weak_ones(build: Any) -> None:
    # "bridge" models were tried on both; on A all are weak but for them, on B all are strong
    scores = {
        "weak-best": {"A": 60}, "weak-worst": {"A": 20}, "bridge-1": {"A": 70, "B": 30}, "bridge-2": {"A": 80, "B": 40},
        "strong-middle": {"B": 60}, "strong-best": {"B": 90},
    }  # fmt: skip
    models = [
        build.candidate(name, scores=tuple(build.score(b, x) for b, x in rows.items())) for name, rows in scores.items()
    ]
    judged = {name: found.value for name, found in judge(build.task(), models).items()}
    assert judged["strong-middle"] > judged["bridge-2"] > judged["weak-best"]  # type: ignore[operator]


def test_models_that_share_no_benchmark_are_not_compared(build: Any) -> None:
    models = [build.candidate(f"a-{n}", scores=(build.score("A", n),)) for n in range(3)]
    models += [build.candidate(f"b-{n}", scores=(build.score("B", n),)) for n in range(2)]
    judged = judge(build.task(), models)
    assert [judged[f"a-{n}"].value for n in range(3)] == [0.0, 0.5, 1.0]
    assert [judged[f"b-{n}"].value for n in range(2)] == [None, None]
    bridged = judge(
        build.task(), [*models, build.candidate("bridge", scores=(build.score("A", 1), build.score("B", 1)))]
    )
    assert bridged["b-0"].value is not None


@pytest.mark.parametrize("reporter", ["vendor", "other-vendor"])
def test_figures_that_are_not_independent_and_missing_ones_widen_the_interval(build: Any, reporter: str) -> None:
    both = {"A": 50, "B": 50}
    models = [
        build.candidate("low", scores=(build.score("A", 0), build.score("B", 0))),
        build.candidate("high", scores=(build.score("A", 100), build.score("B", 100))),
        build.candidate("independent", scores=tuple(build.score(b, x) for b, x in both.items())),
        build.candidate("vendor", scores=tuple(build.score(b, x, reported_by=reporter) for b, x in both.items())),
        build.candidate("partial", scores=(build.score("A", 50),)),
    ]
    judged = judge(build.task(), models)

    def width(name: str) -> float:
        return (judged[name].high or 0) - (judged[name].low or 0)

    assert width("independent") < width("vendor") < width("partial")
    assert judged["independent"].evidence_class == "independent"
    assert judged["vendor"].evidence_class == "vendor"


def test_the_order_of_candidates_does_not_matter(chat_pool: Any) -> None:
    forwards = judge(chat_pool.task, chat_pool.candidates)
    assert forwards == judge(chat_pool.task, tuple(reversed(chat_pool.candidates)))


def estimate(value: float, half: float) -> EstimatedScore:
    return EstimatedScore(value=value, low=value - half, high=value + half, scores=7)


def test_other_scores_stand_in_where_a_benchmark_is_missing(build: Any) -> None:
    both = [build.candidate(f"m-{n}", scores=(build.score("A", n), build.score("B", n))) for n in (20, 50, 80)]
    one = build.candidate("one", scores=(build.score("A", 60),))
    none = build.candidate("none")
    estimates = {"one": {"B": estimate(60, 10)}, "none": {"A": estimate(70, 10), "B": estimate(70, 10)}}
    judged = judge(build.task(), [*both, one, none], estimates)
    assert [judged[name].basis for name in ("m-20", "one", "none")] == [
        "measured",
        "measured",
        "estimated from 7 other scores",
    ]
    assert judged["one"].value == pytest.approx(40 / 60, abs=0.01)
    assert judged["none"].value == pytest.approx(50 / 60, abs=0.01)
    assert judge(build.task(), [*both, none])["none"].basis == "unknown"

    def width(name: str) -> float:
        return (judged[name].high or 0) - (judged[name].low or 0)

    assert width("m-50") < width("one") < width("none")


def test_an_estimate_never_passes_the_best_that_was_tried(build: Any) -> None:
    tried = [build.candidate(f"m-{n}", scores=(build.score("A", n), build.score("B", n))) for n in (20, 50, 80)]
    high = {"A": estimate(99, 1), "B": estimate(99, 1)}
    judged = judge(build.task(), [*tried, build.candidate("new")], {"new": high})
    assert judged["new"].value == judged["m-80"].value == 1.0


def test_lost_points_lower_the_quality_and_widen_its_interval(build: Any) -> None:
    models = [build.candidate(f"m-{n}", scores=(build.score("A", n), build.score("B", n))) for n in (20, 50, 80)]
    judged = judge(build.task(), models)["m-50"]
    lost = judged.lowered(PointsLost(median=3.0, low=0.0, high=9.0, measurements=20, own=True))
    assert judged.points == 60
    assert lost.value == pytest.approx((judged.value or 0) - 3 / 60, abs=1e-3)
    assert (lost.high or 0) - (lost.low or 0) > (judged.high or 0) - (judged.low or 0)
