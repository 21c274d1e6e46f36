from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fmkit.selection.ranking import TIE_EPSILON, select, tied_with
from fmkit.selection.request import Request

TIGHTER: dict[str, list[Any]] = {
    "context_tokens": [None, 16384, 65536, 262144],
    "licence_classes": [(), ("permissive",)],
    "use": [None, "commercial"],
    "monthly_users": [None, 1000, 10**9],
    "train_on_outputs": [False, True],
    "languages": [(), ("en",), ("en", "de")],
    "min_tokens_per_s": [None, 50.0, 120.0, 400.0],
    "max_ttft_s": [None, 60.0, 2.0, 0.1],
    "min_quality": [None, 0.1, 0.5, 0.9],
    "open_only": [False, True],
    "data_stays_here": [False, True],
    "hardware_named": [False, True],
    "memory_share": [1.0, 0.7, 0.4, 0.1],
    "released_after": [None, "2024-06", "2025-06"],
    "exclude_families": [(), ("alpha",), ("alpha", "llama")],
}
"""Values of each constraint, each tighter than the one before."""


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tightening_a_constraint_never_adds_a_pick(chat_pool: Any, data: st.DataObject) -> None:
    chosen = {name: data.draw(st.integers(0, len(values) - 1), label=name) for name, values in TIGHTER.items()}
    name = data.draw(st.sampled_from(sorted(TIGHTER)))
    tighter = data.draw(st.integers(chosen[name], len(TIGHTER[name]) - 1))
    loose = Request(task="chat", **{key: TIGHTER[key][place] for key, place in chosen.items()})
    tight = replace(loose, **{name: TIGHTER[name][tighter]})
    before = {standing.id for standing in select(loose, chat_pool).standings}
    after = {standing.id for standing in select(tight, chat_pool).standings}
    assert after <= before


def test_the_order_of_the_catalog_does_not_matter(chat_pool: Any, build: Any) -> None:
    shuffled = build.pool(*reversed(chat_pool.candidates))
    assert select(Request(task="chat"), chat_pool) == select(Request(task="chat"), shuffled)


def test_models_without_a_score_come_last_and_unranked(chat_pool: Any) -> None:
    selection = select(Request(task="chat"), chat_pool)
    assert [s.id for s in selection.unscored] == ["silent-8b"]
    assert selection.unscored[0].score is None
    assert selection.standings[-1].id == "silent-8b"


def test_scores_fall_and_are_the_weighted_parts(chat_pool: Any) -> None:
    ranked = select(Request(task="chat"), chat_pool).ranked
    scores = [s.score or 0.0 for s in ranked]
    assert scores == sorted(scores, reverse=True)
    local = next(s for s in ranked if s.id == "alpha-8b")
    parts = local.parts
    known = 0.55 * parts.quality + 0.25 * parts.latency + 0.1 * parts.memory + 0.05 * parts.licence  # type: ignore[operator]
    assert local.score == pytest.approx(known / 0.95, abs=1e-4)  # the machine has no price: its weight is shared out
    assert any("cost" in reason for reason in local.reasons)


def test_thin_evidence_counts_for_less(build: Any) -> None:
    models = [
        build.candidate("low", scores=(build.score("A", 0), build.score("B", 0))),
        build.candidate("high", scores=(build.score("A", 100), build.score("B", 100))),
        build.candidate("well-known", scores=(build.score("A", 50), build.score("B", 50))),
        build.candidate("one-number", scores=(build.score("A", 50, reported_by="vendor"),)),
    ]
    by_id = {s.id: s for s in select(Request(task="chat"), build.pool(*models)).ranked}
    known, thin = by_id["well-known"], by_id["one-number"]
    assert known.quality.value == pytest.approx(thin.quality.value, abs=0.02)
    assert known.score > thin.score + 0.02  # type: ignore[operator]


def test_weights_decide(chat_pool: Any) -> None:
    def first(**weights: float) -> str:
        everything = {"quality": 0.0, "latency": 0.0, "memory": 0.0, "licence": 0.0, "cost": 0.0}
        return select(Request(task="chat", open_only=True, weights=everything | weights), chat_pool).ranked[0].id

    assert first(quality=1) == "thinker-8b"
    assert first(memory=1) == "gamma-3b"


def test_thinking_costs_time_and_money(chat_pool: Any, build: Any) -> None:
    ranked = {s.id: s for s in select(Request(task="chat"), chat_pool).ranked}
    assert ranked["thinker-8b"].request_s > 5 * ranked["alpha-8b"].request_s  # type: ignore[operator]
    pool = build.pool(build.api("plain"), build.api("thinks", thinks=True))
    cost = {s.id: s.cost for s in select(Request(task="chat"), pool).standings}
    assert cost["thinks"].usd_per_1m_tokens > 4 * cost["plain"].usd_per_1m_tokens  # type: ignore[union-attr, operator]


def test_ties_are_said_both_ways(build: Any) -> None:
    twins = [build.candidate(name, scores=(build.score("A", 60), build.score("B", 60))) for name in ("one", "two")]
    others = [build.candidate("low", scores=(build.score("A", 0), build.score("B", 0))),
              build.candidate("high", scores=(build.score("A", 100), build.score("B", 100)))]  # fmt: skip
    ranked = select(Request(task="chat"), build.pool(*twins, *others)).ranked
    by_id = {s.id: s for s in ranked}
    assert "two" in tied_with(by_id["one"], ranked)
    assert "one" in tied_with(by_id["two"], ranked)
    assert "low" not in tied_with(by_id["high"], ranked)
    assert abs((by_id["one"].score or 0) - (by_id["two"].score or 0)) < TIE_EPSILON


def test_scores_a_hundredth_apart_are_a_tie_whatever_their_intervals(chat_pool: Any) -> None:
    one = replace(select(Request(task="chat"), chat_pool).ranked[0], score=0.700, score_low=0.60, score_high=0.80)
    other = replace(one, candidate=replace(one.candidate, id="other"), score_low=0.65, score_high=0.85)
    assert tied_with(one, [one, replace(other, score=0.705)]) == ("other",)
    assert tied_with(one, [one, replace(other, score=0.750)]) == ()


def test_an_unranked_task_orders_by_domain_and_training(build: Any) -> None:
    task = build.task(id="biomedical", benchmarks=(), unranked="no comparable scores", domain="biomedical")
    pool = build.pool(
        build.candidate("general", tasks=("biomedical",), training_tokens=10**13),
        build.candidate("bio-small", tasks=("biomedical",), domain="biomedical", training_tokens=10**9),
        build.candidate("bio-large", tasks=("biomedical",), domain="biomedical", training_tokens=10**11),
        task=task,
    )
    selection = select(Request(task="biomedical"), pool)
    assert not selection.ranked
    assert [s.id for s in selection.unscored] == ["bio-large", "bio-small", "general"]
