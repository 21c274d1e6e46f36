"""`fmkit try --engine URL`: times held against the server's own clock, honest counts, and servers that misbehave."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.request import urlopen

import pytest

from fmkit.api.trial_run import TrialOptions
from fmkit.api.try_model import try_model, try_sweep
from fmkit.errors import FmkitError, NetworkNeededError, TrialFailedError, UsageError
from fmkit.report.common import printable
from fmkit.results.trial import TrialResult
from fmkit.trial.embedded import MODEL_PATH
from fmkit.trial.engines.endpoint_chat import Dialect, generate
from fmkit.trial.engines.endpoint_client import Deadlines, EndpointClient, _key_for, parse_address
from fmkit.trial.engines.endpoint_server import Served, cache_usage, choose, facts, identify, served_models
from fmkit.trial.engines.endpoint_prompt import prompt_of
from fmkit.trial.store import TrialStore
from fmkit.units import MIB
from tests.trial.openai_stand_in import TEMPLATE_TOKENS, Fault, Handler, StandIn

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FMKIT_ENDPOINT_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def tried(server: StandIn, model: str | None = None, **options: Any) -> TrialResult:
    return try_model(model, engine=server.url, **{"checks": ["none"], "repeat": 1, "context": 128, **options})


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
    assert result.workload["timed_decode_tokens"] == 48


def test_a_server_that_does_not_count() -> None:
    with StandIn(usage=False) as server:
        result = tried(server)
    assert result.server is not None
    assert result.server.token_count == "chunks"
    assert result.workload["timed_prompt_tokens"] is None
    assert any("does not count tokens" in note for note in result.warnings)


@pytest.mark.parametrize("context", ["64", "1k", "8k"])
def test_the_prompt_has_the_length_asked_for_and_is_new_each_time(context: str) -> None:
    with StandIn() as server:
        result = tried(server, context=context, repeat=2)
    wanted = int(context.replace("k", "")) * (1024 if "k" in context else 1)
    assert result.workload["timed_prompt_tokens"] + result.workload["timed_decode_tokens"] == pytest.approx(
        wanted, rel=0.01
    )
    prompts = [body["messages"][0]["content"] for path, _, body in server.seen if path == CHAT][-4:-1]
    assert len(prompts[-1].split()) + TEMPLATE_TOKENS == result.workload["timed_prompt_tokens"]
    assert len({prompt[:40] for prompt in prompts}) == 3  # nothing for a cache of prefixes


def test_an_early_end_is_said() -> None:
    with StandIn(stop_after=5) as server:
        result = tried(server)
    assert result.workload["timed_decode_tokens"] == 5
    assert any("ended after 5 of 64" in note for note in result.warnings)


# Which model, which interface


def test_one_model_needs_no_name_and_the_trial_is_kept() -> None:
    with StandIn() as server:
        result = tried(server)
    assert result.model == "org/tiny"
    assert [one.id for one in TrialStore().all()] == [result.id]
    assert json.loads(json.dumps(result.workload))["sequences"] == 1


@pytest.mark.parametrize("asked", [None, "nothing-like-it"])
def test_a_wrong_or_missing_name_gives_the_list(asked: str | None) -> None:
    owned = [{"id": "org/one", "owned_by": "vllm"}, {"id": "org/two", "owned_by": "vllm"}]
    with StandIn(models=owned) as server, pytest.raises(UsageError, match="org/one, org/two"):
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
        for options in ({"random_weights": True}, {"repeat": 0}, {"sequences": 0}, {"context": 1}, {"device": "rtx-0"}):
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
    assert [(one.workload["context_tokens"], one.workload["sequences"]) for one in swept.trials] == [(32, 1), (32, 2)]
    assert [one.reason for one in swept.failed] == ["the server answers 400 Bad Request: too long"] * 2


# Checks


def test_checks_on_a_chat_model() -> None:
    def chat(handler: Handler) -> None:
        if "tools" in handler.body:
            _say(handler, {"tool_calls": [{"function": {"name": "get_weather", "arguments": '{"city"'}}]},
                 {"tool_calls": [{"function": {"arguments": ': "Paris"}'}}]})  # fmt: skip
        elif "response_format" in handler.body:
            _say(handler, {"content": '{"city": "Paris", '}, {"content": '"country": "France"}'})
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
            _say(handler, reply)
        else:
            handler._complete(handler.server.stand_in, time.perf_counter())

    with StandIn(faults={CHAT: chat}) as server:
        result = tried(server, checks=[name])
    assert result.checks[0].passed is passed


def test_a_server_that_answers_otherwise_each_time_is_not_deterministic() -> None:
    count = iter(range(10_000))

    def chat(handler: Handler) -> None:
        _say(handler, {"content": "the same "}, {"content": f"and {next(count)}"})

    with StandIn(faults={CHAT: chat}) as server:
        result = tried(server, checks=["deterministic"])
    assert result.checks[0].passed is False
    assert 0 < (result.checks[0].value or 0) < 0.5


def _say(handler: Handler, *deltas: dict[str, Any]) -> None:
    handler.start_stream()
    for delta in deltas:
        handler.event({"choices": [{"delta": delta}]})
    handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    handler.write(b"data: [DONE]\n\n")
    handler.write(b"")


# Keys


def test_a_key_goes_where_it_is_asked_for_and_stays_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "sk-secret-of-this-test"
    monkeypatch.setenv("FMKIT_ENDPOINT_KEY", secret)
    with StandIn() as server:
        tried(server)
    assert not any("authorization" in headers for _, headers, _ in server.seen)
    with StandIn(key=secret) as server:
        said: list[str] = []
        result = tried(server, progress=said.append)
    assert server.seen[-1][1]["authorization"] == f"Bearer {secret}"
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert not any(secret.encode() in content for content in kept)
    assert secret not in repr(result) + "".join(said)
    with StandIn(key="another") as server, pytest.raises(TrialFailedError, match="refuses the key") as caught:
        tried(server)
    assert secret not in repr(caught.value)


def test_a_missing_key_is_said() -> None:
    with StandIn(key="k") as server, pytest.raises(TrialFailedError, match="wants a key") as caught:
        tried(server)
    assert "FMKIT_ENDPOINT_KEY" in (caught.value.next_command or "")


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with StandIn() as elsewhere:

        def away(handler: Handler) -> None:
            handler.send(307, b"", Location=elsewhere.url + "/models")

        with StandIn(faults={"/v1/models": away}) as server, pytest.raises(TrialFailedError, match="redirects to"):
            tried(server)
    assert elsewhere.seen == []


def test_the_key_of_openai_does_not_go_unencrypted_over_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert _key_for(parse_address("http://example.org/v1")) is None
    assert _key_for(parse_address("https://example.org/v1")) == "sk-other"


# Servers that misbehave


def drop(handler: Handler) -> None:
    handler.start_stream()
    handler.token()
    handler.token()
    handler.connection.shutdown(socket.SHUT_RDWR)


def end_early(handler: Handler) -> None:
    handler.start_stream()
    handler.token()
    handler.write(b"")


def silent(handler: Handler) -> None:
    time.sleep(5)


def stall(handler: Handler) -> None:
    handler.start_stream()
    handler.token()
    time.sleep(5)


def _for_ever(write: Callable[[], None], pause_s: float) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        write()
        time.sleep(pause_s)


def drip(handler: Handler) -> None:
    handler.start_stream()
    _for_ever(lambda: handler.write(b": still here\n"), 0.05)


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _for_ever(lambda: handler.wfile.write(b"x"), 0.05)


def endless(handler: Handler) -> None:
    handler.start_stream()
    _for_ever(handler.token, 0.0)


def endless_line(handler: Handler) -> None:
    handler.start_stream()
    _for_ever(lambda: handler.write(b"x" * 65536), 0.0)


def endless_comments(handler: Handler) -> None:
    handler.start_stream()
    _for_ever(lambda: handler.write(b":" + b"x" * 65536 + b"\n"), 0.0)


def no_json(handler: Handler) -> None:
    handler.start_stream()
    handler.write(b"data: {not json}\n\n")


def deep_json(handler: Handler) -> None:
    handler.start_stream()
    handler.write(b'data: {"choices": ' + b"[" * 200_000 + b"\n\n")


def wrong_shape(handler: Handler) -> None:
    handler.start_stream()
    handler.event({"choices": [{"delta": {"content": 7}}]})


def error_inside(handler: Handler) -> None:
    handler.start_stream()
    handler.token()
    handler.event({"error": {"message": "the engine died"}})


def page(handler: Handler) -> None:
    handler.send(200, b"<html>hello</html>", "text/html")


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"220 mail.example.org ESMTP\r\n")
    handler.close_connection = True


def nothing_said(handler: Handler) -> None:
    _say(handler)


STREAMS: list[tuple[Fault, str]] = [
    (drop, "connection was lost"),
    (end_early, "before it was finished"),
    (silent, "did not go on within"),
    (stall, "did not go on within"),
    (drip, "did not go on within"),
    (drip_headers, "did not go on within"),
    (endless, "goes on after"),
    (endless_line, "is longer than"),
    (endless_comments, "is longer than"),
    (no_json, "no chunk of an answer"),
    (deep_json, "no chunk of an answer"),
    (wrong_shape, "no chunk of an answer"),
    (error_inside, "the engine died"),
    (page, "text/html where a stream"),
    (no_http, "connection was lost"),
    (nothing_said, "without a token"),
]


@pytest.mark.parametrize(("fault", "words"), STREAMS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_stream_that_is_none(fault: Fault, words: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.monotonic()
    with StandIn(faults={CHAT: fault}) as server, pytest.raises(TrialFailedError, match=words) as caught:
        tried(server, timeout_s=1.0)
    assert caught.value.exit_code == 9
    assert caught.value.where
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 100 * MIB
    assert TrialStore().all() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "serves no model"),
        (b"[]", "no list of models"),
        (b"\xff\xfe", "no list of models"),
        (b'{"data": ' + b"[" * 100_000, "no list of models"),
        (b'{"data": [{"id": 3}]}', "no list of models"),
        (b" " * (5 * MIB), "longer than"),
    ],
)
def test_a_list_of_models_that_is_none(body: bytes, words: str) -> None:
    faults: dict[str, Fault] = {"/v1/models": lambda handler: handler.send(200, body)}
    with StandIn(faults=faults) as server, pytest.raises(TrialFailedError, match=words):
        tried(server)


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    faults: dict[str, Fault] = {CHAT: lambda handler: handler.send(503, b'{"error": {"message": "\\u001b[2J gone"}}')}
    with StandIn(faults=faults) as server, pytest.raises(TrialFailedError) as caught:
        tried(server)
    assert "\x1b" not in printable(caught.value.message)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/v1", "http://nowhere.invalid/v1", "http://" + "x" * 300 + "/v1"]
)
def test_a_server_that_is_not_there(address: str) -> None:
    with pytest.raises(NetworkNeededError, match="can't reach the server") as caught:
        try_model(engine=address)
    assert caught.value.exit_code == 5
    assert "curl" in (caught.value.next_command or "")


def test_offline_allows_this_computer_only() -> None:
    with StandIn() as server:
        tried(server, offline=True)
    with pytest.raises(NetworkNeededError, match="the network is off"):
        try_model(engine="http://192.0.2.1/v1", offline=True)


# What servers say of themselves


def told(models: list[dict[str, Any]], pages: dict[str, str]) -> Any:
    with StandIn(models=models, pages={path: body.encode() for path, body in pages.items()}) as server:
        client = EndpointClient(parse_address(server.url), Deadlines(answer_s=5))
        listed = served_models(client)
        assert listed is not None
        return facts(client, identify(client, listed), listed[0]), cache_usage(client)


def test_vllm_says_its_cache() -> None:
    lines = (
        'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="15393"} 1.0\n'
        'vllm:kv_cache_usage_perc{engine="0",model_name="org/tiny"} 0.25\n'
    )
    models = [{"id": "org/tiny", "owned_by": "vllm", "max_model_len": 8192}]
    found, usage = told(models, {"/metrics": lines, "/version": '{"version": "0.24.0"}'})
    assert (found.kind, found.version, found.max_context_tokens) == ("vllm", "0.24.0", 8192)
    assert (found.cache_tokens, usage) == (246_288, 0.25)
    newer = lines.replace("cache_dtype", 'kv_cache_size_tokens="123456",cache_dtype')
    assert told(models, {"/metrics": newer})[0].cache_tokens == 123_456
    assert told(models, {"/metrics": lines + lines.replace('engine="0"', 'engine="1"')})[0].cache_tokens is None
    absurd, usage = told(models, {"/metrics": lines.replace("15393", "9" * 70).replace("0.25", "7.5")})
    assert (absurd.cache_tokens, usage) == (None, None)


def test_other_servers_say_what_they_are() -> None:
    found, _ = told(
        [{"id": "a", "owned_by": "sglang"}],
        {"/get_server_info": '{"version": "0.5.1", "max_total_num_tokens": 9000, "api_key": "x"}'},
    )
    assert (found.kind, found.version, found.cache_tokens) == ("sglang", "0.5.1", 9000)
    found, _ = told(
        [{"id": "a", "owned_by": "a"}],
        {"/info": '{"model_id": "a", "version": "3.3.4", "max_total_tokens": 4096, "model_dtype": "float16"}'},
    )
    assert (found.kind, found.max_context_tokens, found.weights_type) == ("tgi", 4096, "float16")
    running = '{"models": [{"name": "a", "size": 6000, "size_vram": 5000, "context_length": 4096}]}'
    found, _ = told([{"id": "a", "owned_by": "library"}], {"/api/version": '{"version": "0.13.1"}', "/api/ps": running})
    assert (found.kind, found.version, found.memory_bytes, found.device_memory_bytes) == (
        "ollama",
        "0.13.1",
        6000,
        5000,
    )
    found, _ = told([{"id": "a"}], {"/info": '{"model_id": "a", "version": -1}', "/metrics": "x{" * 100_000})
    assert (found.kind, found.version, found.cache_tokens) == ("unknown", None, None)


def test_a_known_model_on_a_named_device_has_its_prediction_beside_it() -> None:
    models = [{"id": "chat", "root": "Qwen/Qwen2.5-7B-Instruct", "owned_by": "vllm"}]
    with StandIn(models=models) as server:
        result = tried(server, device="h100-sxm5-80gb")
    assert (result.hub_id, result.precision, result.machine["device_id"]) == (
        "Qwen/Qwen2.5-7B-Instruct", "fp16", "h100-sxm5-80gb",
    )  # fmt: skip
    assert result.predicted["weights"] == pytest.approx(2 * 7.6e9, rel=0.02)
    assert result.measured == {}
    assert result.speed.predicted["decode_tokens_per_s"]["low"] > 20


# Real servers


@pytest.fixture(scope="module")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    from tests.trial.gguf_models import small_spec, write_running_model

    path = tmp_path_factory.mktemp("gguf") / "tiny-F16.gguf"
    write_running_model(path, small_spec("HuggingFaceTB--SmolLM2-135M-Instruct"), "F16")
    code = (
        "import sys, time, xllamacpp as x\n"
        "p = x.CommonParams(); p.model.path = sys.argv[1]; p.hostnames = ['127.0.0.1']; p.port = 0; p.n_ctx = 4096; p.n_parallel = 2\n"
        "p.endpoint_metrics = True; p.warmup = False; p.cpuparams.n_threads = 1\n"
        "s = x.Server(p); print(s.listening_address, flush=True); sys.stdin.read()\n"
    )
    yield from _running([sys.executable, "-c", code, str(path)])


def _running(command: list[str]) -> Iterator[str]:
    """The first line that a server prints; it ends when its standard input does."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.slow
def test_a_real_llama_server_agrees_with_its_own_clock(llama_server: str) -> None:
    client = EndpointClient(parse_address(llama_server))
    before = _clock(llama_server)
    one = generate(client, "any", prompt_of(200, 5), 64, Dialect(ignore_eos=True))
    after = _clock(llama_server)
    spent = {name: after[name] - before[name] for name in after}
    assert (one.prompt_tokens, one.output_tokens) == (spent["prompt_tokens_total"], 64)
    assert one.first_s == pytest.approx(spent["prompt_seconds_total"], rel=0.1)
    assert one.decode_tokens_per_s == pytest.approx(64 / spent["tokens_predicted_seconds_total"], rel=0.1)


@pytest.mark.slow
def test_a_whole_trial_of_a_real_llama_server(llama_server: str) -> None:
    result = try_model(engine=llama_server, context=1024, sequences=2, repeat=2, checks=["deterministic", "tool-call"])
    assert result.server is not None
    assert (result.engine.name, result.server.slots, result.server.max_context_tokens) == ("llama.cpp", 2, 2048)
    assert (result.server.api, result.server.token_count, result.server.weights_type) == ("chat", "usage", "F16")
    assert result.workload["timed_prompt_tokens"] == pytest.approx(960, rel=0.03)
    assert result.workload["timed_decode_tokens"] == 64
    assert result.checks[0].passed is True
    with pytest.raises(UsageError, match="the server's limit is 2k"):
        try_model(engine=llama_server, context="4k")


def _clock(address: str) -> dict[str, float]:
    """The counters of llama-server: tokens, and seconds spent on them."""
    with urlopen(address + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = dict(line.removeprefix("llamacpp:").split(" ", 1) for line in lines if line.startswith("llamacpp:"))
    names = ("prompt_tokens_total", "prompt_seconds_total", "tokens_predicted_seconds_total")
    return {name: float(found[name]) for name in names}


@pytest.mark.slow
def test_a_real_transformers_server(tmp_path: Path) -> None:
    for name in ("fastapi", "uvicorn", "openai"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: transformers serve needs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            result = try_model(
                str(MODEL_PATH), engine=f"http://127.0.0.1:{port}/v1", context=256, checks=["deterministic"]
            )
        finally:
            process.kill()
    assert result.server is not None
    assert (result.engine.name, result.server.api, result.server.token_count) == (
        "transformers",
        "completions",
        "usage",
    )
    assert result.workload["timed_prompt_tokens"] == pytest.approx(192, rel=0.05)
    assert result.checks[0].passed is True
    assert len(result.output.split()) > 20


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise FmkitError("the server did not start")
