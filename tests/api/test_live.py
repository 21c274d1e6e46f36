"""Facts of the Hub laid over the catalog: what differs is said, with its date; refusals and old servers included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.live import differences, refresh, with_live
from fmkit.api.recommend import recommend
from fmkit.catalog.load import load_catalog
from fmkit.errors import ExitCode, NetworkNeededError, UsageError
from fmkit.selection.facts import HubFacts
from tests.stand_in.content import COMMIT, Repository
from tests.stand_in.routes import Reply
from tests.stand_in.server import Fault, StandIn, stand_in

GPT2 = "openai-community/gpt2"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None, tmp_path: Path) -> Iterator[StandIn]:
    del network
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path / "cache")
    names = [one.hub_id for one in load_catalog().candidates() if one.hub_id is not None]
    licences = {one.hub_id: one.licence for one in load_catalog().candidates()}
    with stand_in([Repository(name, tags=(f"license:{licences[name]}",)) for name in names]) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def facts(**changed: Any) -> HubFacts:
    return HubFacts(**{
        "hub_id": GPT2, "asked_on": "2026-11-27", "commit": COMMIT, "licence": "mit", "gated": False, "disabled": False, "downloads": 1,
        "likes": 1, "trending": None, "last_change": None, **changed,
    })  # fmt: skip


def test_what_differs() -> None:
    licences = load_catalog().licences
    assert differences(facts(), GPT2, "mit", licences) == ()
    assert differences(facts(licence="apache"), GPT2, "apache-2.0", licences) == ()
    for open_question in (None, "other", "a-licence-nobody-knows"):
        assert differences(facts(licence=open_question), GPT2, "mit", licences) == ()
    assert differences(facts(licence="gemma"), GPT2, "mit", licences) == ("licence gemma, the catalog has mit",)
    assert differences(facts(gated=True, disabled=True, hub_id="a/b"), GPT2, "mit", licences) == (
        "disabled", "gated, access has to be asked for", "now called a/b",
    )  # fmt: skip


def test_refresh_of_named_models(hub: StandIn) -> None:
    hub.repositories[GPT2].gated = "auto"
    (row,) = refresh(["gpt2"]).models
    assert row.facts is not None
    assert (row.facts.downloads, row.facts.likes, row.facts.last_change, row.facts.commit) == (
        1000,
        10,
        "2026-11-01",
        COMMIT,
    )
    assert row.differences == ("gated, access has to be asked for",)
    assert len(hub.seen) == 1
    with pytest.raises(UsageError, match="unknown model"):
        refresh(["gpt3"])


def test_one_request_for_each_model_of_the_catalog(hub: StandIn) -> None:
    result = refresh()
    assert len(hub.seen) == len({row.hub_id for row in result.models}) > 100
    assert all(row.facts is not None for row in result.models)
    assert [row for row in result.models if row.differences] == []


def test_a_refusal_is_a_row_and_a_lost_network_an_error(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    del hub.repositories[GPT2]
    (row,) = refresh(["gpt2"]).models
    assert row.facts is None
    assert "does not exist, or it is private" in row.differences[0]
    assert row.exit_code == ExitCode.MODEL_NOT_FOUND
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkNeededError):
        refresh(["gpt2"])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"id":3}',
        b'{"id":"a/b","downloads":"many"}',
        b'{"id":"a/b","tags":{}}',
        b'{"id":"a/b","downloads":1000000000000000000000}',
        b'{"x":' + b"[" * 10**5,
    ],
    ids=str,
)
def test_nonsense_is_a_row(hub: StandIn, body: bytes) -> None:
    hub.faults.append(Fault("/api/models/", reply=Reply(200, body)))
    (row,) = refresh(["gpt2"]).models
    assert "none of a Hub" in row.differences[0]
    assert row.exit_code == ExitCode.UNSAFE_INPUT


def test_an_older_server_is_asked_without_what_it_does_not_know(hub: StandIn) -> None:
    hub.faults.append(
        Fault("expand", reply=Reply(400, b'{"error":"Invalid expand"}', {"X-Error-Message": "Invalid expand"}))
    )
    (row,) = refresh(["gpt2"]).models
    assert row.facts is not None
    assert len(hub.seen) == 2


def test_names_from_the_hub_cannot_drive_the_terminal(hub: StandIn) -> None:
    answer = {
        "id": GPT2,
        "tags": ["license:\x1b[31mred"],
        "lastModified": "\x1b]0;x",
        "baseModels": {"models": [{"id": "../x"}]},
    }
    hub.faults.append(Fault("/api/models/", reply=Reply(200, json.dumps(answer).encode())))
    (row,) = refresh(["gpt2"]).models
    assert row.facts is not None
    assert row.facts.base_models == ()


def test_published_results_are_kept_as_they_stand(hub: StandIn) -> None:
    right = {
        "dataset": {"id": "a/b", "task_id": "t"},
        "value": 71.5,
        "date": "2026-01-01",
        "source": {"url": "https://x", "name": "n"},
    }
    rows = [
        {"filename": "x", "data": right}, {"filename": "y", "error": "invalid"}, 3, {"data": {"dataset": "a", "value": 1}},
        {"data": {**right, "value": "high"}}, {"data": {**right, "value": 10**400}}, {"data": {"dataset": {"id": "c"}, "value": 1}},
    ]  # fmt: skip
    hub.repositories[GPT2].extra = {"evalResults": rows}
    (row,) = refresh(["gpt2"]).models
    assert row.facts is not None
    assert row.facts.evaluations == len(rows)
    assert [(one.dataset, one.value, one.source) for one in row.facts.evaluation_results] == [
        ("a/b", 71.5, "https://x"), ("c", 1.0, None),
    ]  # fmt: skip


def test_a_recommendation_keeps_its_order_and_gains_facts(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recommend("chat", gpu="rtx-4090", top=3)
    hub.seen.clear()
    result = with_live(before)
    assert [pick.model for pick in result.picks] == [pick.model for pick in before.picks]
    asked = [pick for pick in result.picks if pick.hub_id is not None]
    assert all(pick.live is not None for pick in asked)
    assert len(hub.seen) == 2 * len(asked), "one request for facts, one for quantised copies"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert with_live(before, offline=True) == result
    with pytest.raises(NetworkNeededError, match="never asked about"):
        with_live(recommend("embedding", gpu="rtx-4090", top=3), offline=True)
