from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fmkit.machine import Device
from fmkit.selection.ranking import TIE_EPSILON, level, select, tied_with
from fmkit.selection.request import Request
from fmkit.selection.scoring import weights_that_count

DEVICE = Device(id="card", name="Card", vendor="v", device_class="datacentre", memory_bytes=1, bandwidth_bytes_per_s=1)

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
    # the machine has no price: its cost counts as the lower quartile of what is known, which is the API's
    api = next(s for s in ranked if s.id == "cloud").parts.cost
    assert local.score == pytest.approx(known + 0.05 * api, abs=1e-4)  # type: ignore[operator]
    assert parts.cost is None
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


def test_a_tie_takes_close_scores_and_intervals_that_overlap(chat_pool: Any) -> None:
    one = replace(select(Request(task="chat"), chat_pool).ranked[0], score=0.700, score_low=0.60, score_high=0.80)
    assert level(one, replace(one, score=0.705, score_low=0.65, score_high=0.85))
    assert not level(one, replace(one, score=0.750, score_low=0.65, score_high=0.85))
    assert not level(one, replace(one, score=0.705, score_low=0.76, score_high=0.90))


def test_ties_are_groups_and_hold_both_ways(build: Any) -> None:
    models = [build.candidate(f"m-{n:02}", scores=(build.score("A", n), build.score("B", n))) for n in range(0, 60, 1)]
    ranked = select(Request(task="chat"), build.pool(*models)).ranked
    by_id = {s.id: s for s in ranked}
    assert any(s.tied for s in ranked)
    assert ranked[-1].id not in ranked[0].tied
    for standing in ranked:
        assert all(set(by_id[other].tied) | {other} == set(standing.tied) | {standing.id} for other in standing.tied)


def test_more_knowledge_never_puts_a_usable_model_below_an_unknown_one(build: Any) -> None:
    card = build.machine(origin="catalog", device=DEVICE)
    models = [build.candidate(name, scores=(build.score("A", x),)) for name, x in
              (("best", 90), ("middle", 60), ("low", 30), ("lowest", 0))]  # fmt: skip
    dark = frozenset(("best", precision) for precision in ("fp32", "fp16", "int8", "int4"))
    selection = select(Request(task="chat"), build.pool(*models, on=card, unknown=dark))
    assert [s.id for s in selection.ranked] == ["middle", "low", "lowest"]
    assert [s.id for s in selection.unscored] == ["best"]
    assert "not known" in selection.unscored[0].reasons[-1]
    assert select(Request(task="chat"), build.pool(*models, on=card)).ranked[0].id == "best"


def test_another_precision_is_tried_where_the_speed_at_the_first_is_unknown(build: Any) -> None:
    models = [build.candidate(name, params=10**9, scores=(build.score("A", n),)) for n, name in enumerate("abc")]
    dark = frozenset((name, precision) for name in "abc" for precision in ("fp16", "int8", "int4"))
    cpu = build.machine(origin="detected", device=replace(DEVICE, device_class="cpu"))
    found = select(Request(task="chat"), build.pool(*models, on=cpu, unknown=dark)).ranked
    assert {s.sized.precision for s in found} == {"fp32"}  # type: ignore[union-attr]
    asked = select(Request(task="chat", precisions=("int8",)), build.pool(*models, on=cpu, unknown=dark))
    assert {s.sized.precision for s in asked.ranked} == {"int8"}  # type: ignore[union-attr]
    assert all("speed" in s.reasons[0] for s in asked.ranked)


def test_an_unknown_precision_is_no_way_round_a_known_slow_one(build: Any) -> None:
    model = build.candidate("slow", params=10**9, scores=(build.score("A", 1),))
    cpu = build.machine(origin="detected", device=replace(DEVICE, device_class="cpu"))
    dark = frozenset(("slow", precision) for precision in ("int8", "int4"))
    selection = select(Request(task="chat"), build.pool(model, on=cpu, unknown=dark, bandwidth=1e9))
    assert [(e.model, e.constraint) for e in selection.excluded] == [("slow", "usable-speed")]
    assert "unknown is not a pass" in selection.excluded[0].reason


def test_two_scores_are_no_ranking(build: Any) -> None:
    models = [build.candidate(f"scored-{n}", scores=(build.score("A", n),)) for n in range(2)]
    models += [build.candidate(f"silent-{n}") for n in range(3)]
    selection = select(Request(task="chat"), build.pool(*models))
    assert not selection.ranked
    assert selection.unranked == "2 of the 5 models that pass have a comparable score for chat; a ranking takes 3"
    third = build.candidate("scored-2", scores=(build.score("A", 2),))
    assert len(select(Request(task="chat"), build.pool(*models, third)).ranked) == 3


def test_enough_is_enough_of_speed_and_memory(build: Any) -> None:
    models = [build.candidate("large", params=10_000_000_000, scores=(build.score("A", 60),)),
              build.candidate("small", params=1_000_000_000, scores=(build.score("A", 50),)),
              build.candidate("worst", params=1_000_000_000, scores=(build.score("A", 0),))]  # fmt: skip
    pool = build.pool(*models, on=build.machine(80))
    ranked = select(Request(task="chat"), pool).ranked
    assert ranked[0].id == "large"
    assert (ranked[0].parts.latency, ranked[0].parts.memory) == (1.0, 1.0)
    faster = select(Request(task="chat", weights={"latency": 3.0}), pool).ranked
    assert faster[0].id == "small"  # who asks for more speed gets it


def test_one_sequence_on_many_cards_has_no_say_by_its_cost(build: Any) -> None:
    pool = build.pool(build.candidate("a"), on=build.machine(origin="catalog", device=DEVICE, count=8))
    assert "cost" not in weights_that_count(Request(task="chat"), pool)
    assert "cost" in weights_that_count(Request(task="chat", sequences=16), pool)


def test_among_equals_the_domain_asked_for_comes_first(build: Any) -> None:
    models = [build.candidate(name, domain=domain, scores=(build.score("A", x),)) for name, domain, x in
              (("a-general", None, 60), ("b-legal", "legal", 60), ("c-legal", "legal", 0))]  # fmt: skip
    pool = build.pool(*models)
    assert [s.id for s in select(Request(task="chat"), pool).ranked] == ["a-general", "b-legal", "c-legal"]
    assert [s.id for s in select(Request(task="chat", domain="legal"), pool).ranked] == [
        "b-legal",
        "a-general",
        "c-legal",
    ]


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


def test_where_only_the_rate_of_writing_is_known_it_counts_and_is_said(build: Any) -> None:
    def halved(model: str, precision: str, context_tokens: int, share: float = 1.0) -> Any:
        sized = pool.size(model, precision, context_tokens, share)
        speed = replace(sized.speed, prefill_tokens_per_s=None, ttft_s=None)
        return replace(sized, speed=speed)

    models = [build.candidate(f"m-{n}", scores=(build.score("A", n),)) for n in range(3)]
    pool = build.pool(*models, bandwidth=1e11)
    found = select(Request(task="chat"), dataclasses.replace(pool, size=halved)).ranked[0]
    # 16e9 bytes at 1e11 bytes/s are 6.25 tokens/s: 256 tokens take 41 s, comfortable are 26.6 s
    assert found.parts.latency == pytest.approx(26.6 / 40.96, abs=1e-3)
    assert any("writing alone" in reason for reason in found.reasons)
