from __future__ import annotations

from typing import Any

import pytest

from fmkit.errors import ModelNotFoundError
from fmkit.selection import explain
from fmkit.selection.ranking import select
from fmkit.selection.request import Request
from fmkit.selection.whatif import relaxations, sensitivities

CHAT = Request(task="chat")


def test_the_verdict_names_the_winner_or_the_obstacle(chat_pool: Any) -> None:
    here = Request(task="chat", hardware_named=True)
    assert "thinker-8b at fp16" in explain.verdict(select(here, chat_pool), here, chat_pool) or "llama-8b" in (
        explain.verdict(select(here, chat_pool), here, chat_pool)
    )
    nothing = Request(task="chat", min_tokens_per_s=1e9)
    assert "min-tokens-per-s" in explain.verdict(select(nothing, chat_pool), nothing, chat_pool)


def test_each_view_takes_the_extreme(chat_pool: Any) -> None:
    standings = select(CHAT, chat_pool).standings
    assert explain.best(standings) == "cloud"
    assert explain.smallest(standings) == "gamma-3b"
    assert explain.fastest(standings) == "gamma-3b"
    assert explain.cheapest(standings) == "cloud"


def test_nobody_on_the_pareto_front_is_beaten_in_everything(chat_pool: Any) -> None:
    front = explain.pareto(select(CHAT, chat_pool).ranked)
    assert "gamma-3b" in front  # smallest and fastest
    assert "thinker-8b" in front  # best that runs here
    assert "alpha-8b" not in front  # as large as llama-8b, not as good


def test_why_not_gives_every_reason_or_the_losses(chat_pool: Any) -> None:
    request = Request(task="chat", licence_classes=("permissive",), languages=("de",))
    selection = select(request, chat_pool)
    lines = explain.why_not("gamma-3b", selection, request, chat_pool)
    assert [line.split(":")[0] for line in lines] == [
        "gamma-3b is excluded by licence",
        "gamma-3b is excluded by language",
    ]
    behind = explain.why_not("gamma-3b", select(CHAT, chat_pool), CHAT, chat_pool)
    assert behind[0].startswith("gamma-3b is number")
    assert any(line.startswith("loses on quality") for line in behind)
    assert "no comparable score" in explain.why_not("silent-8b", select(CHAT, chat_pool), CHAT, chat_pool)[0]
    winner = select(CHAT, chat_pool).winner
    assert winner is not None
    assert "is the first" in explain.why_not(winner.id, select(CHAT, chat_pool), CHAT, chat_pool)[0]


def test_why_not_an_unknown_model_is_an_error(chat_pool: Any) -> None:
    with pytest.raises(ModelNotFoundError):
        explain.why_not("nobody", select(CHAT, chat_pool), CHAT, chat_pool)


def test_a_relaxation_names_a_value_that_really_adds_its_models(chat_pool: Any) -> None:
    request = Request(task="chat", licence_classes=("permissive",), open_only=True)
    found = {(r.constraint, r.to): r.would_add for r in relaxations(select(request, chat_pool), request, chat_pool)}
    assert found[("licence", "also community-restricted")] == ("llama-8b",)
    assert found[("licence", "also research-only")] == ("gamma-3b",)
    assert found[("memory", "33.60 GiB")] == ("beta-70b",)
    # the API is open-only's doing, but its licence would still keep it out
    assert not any("cloud" in models for models in found.values())


def test_a_relaxed_precision_is_offered_when_it_was_left_out(chat_pool: Any, build: Any) -> None:
    pool = build.pool(*chat_pool.candidates, on=build.machine(12))
    request = Request(task="chat", precisions=("fp16",))
    found = {(r.constraint, r.to): r.would_add for r in relaxations(select(request, pool), request, pool)}
    assert "alpha-8b" in found[("precision", "int8")]


def test_sensitivity_names_only_changes_that_matter(chat_pool: Any) -> None:
    selection = select(CHAT, chat_pool)
    assert selection.winner is not None
    changes = {change.change: change.new_winner for change in sensitivities(selection, CHAT, chat_pool)}
    assert selection.winner.id not in changes.values()
    assert selection.winner.id == "cloud"
    assert changes["open weights only"] in {"thinker-8b", "llama-8b", "alpha-8b"}
