"""`fmkit try --engine URL`: times held against the server's own clock, honest counts, and servers that misbehave."""

from __future__ import annotations

import json
import time
from statistics import mean
from typing import Any

import msgspec
import pytest

from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_model, try_sweep
from fmkit.cli.main import main
from fmkit.errors import UsageError
from fmkit.trial.endpoint.models import Served, choose
from fmkit.trial.store import TrialStore
from tests.trial.openai_stand_in import CHAT, TEMPLATE_TOKENS, Handler, StandIn, say, tried

# Times and counts


def test_times_are_those_of_the_servers_clock() -> None:
    with StandIn(first_s=0.2, each_s=0.02) as server:
        result = tried(server, repeat=2)
    timed = server.times[-3:-1]  # after them only the answer
    assert result.speed.ttft_s is not None
    assert result.speed.decode_tokens_per_s is not None
    assert result.speed.ttft_s.mean == pytest.approx(mean(one[0] for one in timed), rel=0.1)
    rates = [(len(one) - 1) / (one[-1] - one[0]) for one in timed]
    assert result.speed.decode_tokens_per_s.mean == pytest.approx(mean(rates), rel=0.1)
    assert [len(one) for one in timed] == [64, 64]
    assert rates[0] == pytest.approx(50, rel=0.1)
    assert timed[0][0] == pytest.approx(0.2, rel=0.1)
    assert result.speed.load_s is None


def test_streams_run_at_once_and_their_rates_are_not_mixed_with_the_total() -> None:
    with StandIn(first_s=0.2, each_s=0.02) as server:
        result = tried(server, sequences=4, context=64)
    assert result.speed.decode_tokens_per_s is not None
    assert result.speed.throughput_tokens_per_s is not None
    timed = server.times[-5:-1]
    own = mean((len(one) - 1) / (one[-1] - one[0]) for one in timed)
    assert result.speed.decode_tokens_per_s.mean == pytest.approx(own, rel=0.1)
    assert result.speed.throughput_tokens_per_s.mean == pytest.approx(4 * 32 / max(one[-1] for one in timed), rel=0.1)
    assert result.speed.throughput_tokens_per_s.mean > 2 * own


def test_several_tokens_in_a_chunk_count_as_the_server_counts_them() -> None:
    with StandIn(first_s=0.1, each_s=0.02, per_chunk=4) as server:
        result = tried(server, context=96)
    assert result.speed.decode_tokens_per_s is not None
    assert result.speed.decode_tokens_per_s.mean == pytest.approx(50, rel=0.1)
    assert result.workload.timed_decode_tokens == 48


def test_a_server_that_does_not_count() -> None:
    with StandIn(usage=False) as server:
        result = tried(server)
    assert result.server is not None
    assert result.server.token_count == "chunks"
    assert result.workload.timed_prompt_tokens is None
    assert any("does not count tokens" in note for note in result.warnings)


@pytest.mark.parametrize("context", ["64", "1k", "8k"])
def test_the_prompt_has_the_length_asked_for_and_is_new_each_time(context: str) -> None:
    with StandIn() as server:
        result = tried(server, context=context, repeat=2)
    wanted = int(context.replace("k", "")) * (1024 if "k" in context else 1)
    read, written = result.workload.timed_prompt_tokens, result.workload.timed_decode_tokens
    assert read is not None
    assert written is not None
    assert read + written == pytest.approx(wanted, rel=0.01)
    prompts = [body["messages"][0]["content"] for path, _, body in server.seen if path == CHAT][-4:-1]
    assert len(prompts[-1].split()) + TEMPLATE_TOKENS == result.workload.timed_prompt_tokens
    assert len({prompt[:40] for prompt in prompts}) == 3  # nothing for a cache of prefixes


def test_an_early_end_is_said() -> None:
    with StandIn(stop_after=5) as server:
        result = tried(server)
    assert result.workload.timed_decode_tokens == 5
    assert any("ended after 5 of 64" in note for note in result.warnings)


# Which model, which interface


def test_one_model_needs_no_name_and_the_trial_is_kept() -> None:
    with StandIn() as server:
        result = tried(server)
    assert result.model == "org/tiny"
    assert [one.id for one in TrialStore().all()] == [result.id]
    assert json.loads(msgspec.json.encode(result.workload))["sequences"] == 1


@pytest.mark.parametrize("asked", [None, "nothing-like-it"])
def test_a_wrong_or_missing_name_gives_the_list(asked: str | None) -> None:
    with (
        StandIn(models=[{"id": "org/one"}, {"id": "org/two"}]) as server,
        pytest.raises(UsageError, match="org/one, org/two"),
    ):
        tried(server, asked)


def test_names_that_mean_a_served_model() -> None:
    models = [
        Served(id="/models/Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
        Served(id="b", root="org/Name"),
        Served(id="x/b2"),
    ]
    assert choose("llama-3.2-1b-instruct", models) is models[0]
    assert choose("org/name", models) is models[1]
    assert choose("b2", models) is models[2]
    with pytest.raises(UsageError):
        choose("llama-3.2-1b", models)  # the base model is another


def test_a_base_model_without_chat_continues_the_bare_prompt() -> None:
    with StandIn(chat=False) as server:
        result = tried(server, checks=["chat-template", "tool-call"])
    assert result.server is not None
    assert result.server.api == "completions"
    assert any("no chat template" in note for note in result.warnings)
    assert [check.passed for check in result.checks] == [None, None]


def test_a_server_that_refuses_stream_options() -> None:
    with StandIn(refuses=("stream_options",)) as server:
        result = tried(server)
    assert result.server is not None
    assert (result.server.api, result.server.token_count) == ("chat", "chunks")


def test_options_that_make_no_sense() -> None:
    with StandIn() as server:
        for options in (
            {"random_weights": True},
            {"offload": True},
            {"repeat": 0},
            {"sequences": 0},
            {"context": 1},
            {"device": "rtx-0"},
        ):
            with pytest.raises(UsageError):
                tried(server, **options)
    for address in (
        "ftp://host/v1",
        "http://",
        "http://name:secret@host/v1",
        "http://host:port/v1",
        "http://host/v1?x=1",
    ):
        with pytest.raises(UsageError) as caught:
            try_model(engine=address)
        assert "secret" not in caught.value.message


def test_a_sweep_goes_on_after_a_workload_that_fails() -> None:
    def picky(handler: Handler) -> None:
        if handler.body["max_tokens"] == 64:
            handler.send(400, b'{"error": {"message": "too long"}}')
        else:
            handler._complete(handler.server.stand_in, time.perf_counter())

    with StandIn(faults={CHAT: picky}) as server:
        options = TrialOptions(engine=server.url, repeat=1, checks=["none"])
        swept = try_sweep(context=["32", "2k"], sequences=[1, 2], options=options)
    assert [(one.workload.context_tokens, one.workload.sequences) for one in swept.trials] == [(32, 1), (32, 2)]
    assert [one.reason for one in swept.failed] == ["the server answers 400 Bad Request: too long"] * 2


# Checks


def test_checks_on_a_chat_model() -> None:
    def chat(handler: Handler) -> None:
        if "tools" in handler.body:
            say(handler, {"tool_calls": [{"function": {"name": "get_weather", "arguments": '{"city"'}}]},
                 {"tool_calls": [{"function": {"arguments": ': "Paris"}'}}]})  # fmt: skip
        elif "response_format" in handler.body:
            say(handler, {"content": '{"city": "Paris", '}, {"content": '"country": "France"}'})
        else:
            handler._complete(handler.server.stand_in, time.perf_counter())

    with StandIn(faults={CHAT: chat}, words="round and", stop_after=40) as server:
        result = tried(server, checks=None)
    passed = {check.name: check.passed for check in result.checks}
    assert passed["valid-json"] is True
    assert passed["tool-call"] is True
    assert passed["deterministic"] is True
    assert passed["stop-token"] is True
    assert passed["no-repetition-loop"] is False
    assert passed["finite-logits"] is None


@pytest.mark.parametrize(
    ("reply", "name", "passed"),
    [
        ({"content": '<tool_call>{"name": "get_weather"}</tool_call>'}, "tool-call", False),
        ({"content": "It rains."}, "tool-call", None),
        ({"tool_calls": [{"function": {"name": "get_weather", "arguments": '{"town": 1}'}}]}, "tool-call", False),
        ({"content": "Here you are: {}"}, "valid-json", False),
        ({"content": "[" * 100_000}, "valid-json", False),
    ],
)
def test_checks_that_fail(reply: dict[str, Any], name: str, passed: bool | None) -> None:
    def chat(handler: Handler) -> None:
        if "tools" in handler.body or "response_format" in handler.body:
            say(handler, reply)
        else:
            handler._complete(handler.server.stand_in, time.perf_counter())

    with StandIn(faults={CHAT: chat}) as server:
        result = tried(server, checks=[name])
    assert result.checks[0].passed is passed


def test_a_server_that_answers_otherwise_each_time_is_not_deterministic() -> None:
    count = iter(range(10_000))

    def chat(handler: Handler) -> None:
        say(handler, {"content": "the same "}, {"content": f"and {next(count)}"})

    with StandIn(faults={CHAT: chat}) as server:
        result = tried(server, checks=["deterministic"])
    assert result.checks[0].passed is False
    assert 0 < (result.checks[0].value or 0) < 0.5


def test_a_sweep_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with StandIn() as server:
        assert (
            main(["try", "--engine", server.url, "-c", "32,64", "-s", "1,2", "--repeat", "1", "--checks", "none", "-q"])
            == 0
        )
    lines = capsys.readouterr().out.splitlines()
    assert "org/tiny: 4 workloads measured." in lines
    (head,) = [line.split("  ") for line in lines if "tokens/s each" in line]
    assert "tokens/s of all" in [cell.strip() for cell in head]
    assert [line.split()[:2] for line in lines if line.strip().startswith(("32 ", "64 "))] == [
        ["32", "1"], ["64", "1"], ["32", "2"], ["64", "2"],
    ]  # fmt: skip


def test_a_trial_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with StandIn(usage=False) as server:
        assert main(["try", "--engine", server.url, "-c", "64", "-s", "3", "--repeat", "1", "--json", "-q"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert main(["trials", "show", answer["id"]]) == 0
        said = capsys.readouterr().out
    assert answer["schema"] == "fmkit.trial/1"
    assert answer["measured"] == {}
    assert answer["unaccounted_bytes"] is None
    assert answer["server"]["address"] == server.url.removesuffix("/v1")
    assert "counted as the chunks that came" in said
    assert "tokens/s per sequence" in said
    assert "all together" in said
    assert "the server says nothing of its memory" in said
