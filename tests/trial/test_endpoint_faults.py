"""Keys that stay where they belong, and servers that break off, stall, trickle, flood, or are none."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fmkit.api.try_model import try_model
from fmkit.cli.main import main
from fmkit.errors import NetworkNeededError, TrialFailedError
from fmkit.trial.endpoint.address import key_for, parse_address
from fmkit.trial.store import TrialStore
from fmkit.units import MIB
from tests.stand_in.server import TLS
from tests.trial.openai_stand_in import CHAT, Fault, Handler, StandIn, say, tried


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
    assert key_for(parse_address("http://example.org/v1")) is None
    assert key_for(parse_address("https://example.org/v1")) == "sk-other"


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
    del handler
    time.sleep(5)


def stall(handler: Handler) -> None:
    handler.start_stream()
    handler.token()
    time.sleep(5)


def _for_ever(write: Callable[[], object], pause_s: float) -> None:
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
    say(handler)


STREAMS: list[tuple[Fault, str]] = [
    (drop, "closed the connection in the middle of its answer"),
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
    assert caught.value.next_command
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 100 * MIB
    assert TrialStore().all() == []


def test_an_encrypted_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn(tls=True) as server, pytest.raises(NetworkNeededError, match="certificate"):
        tried(server)
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "cert.pem"))
    with StandIn(tls=True) as server:
        assert tried(server).workload.timed_decode_tokens == 64
    for fault in (stall, drip, drop):
        with StandIn(tls=True, faults={CHAT: fault}) as server, pytest.raises(TrialFailedError):
            tried(server, timeout_s=0.5)


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
    with StandIn(faults=faults) as server, pytest.raises(TrialFailedError, match=words) as caught:
        tried(server)
    assert caught.value.next_command


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_status_that_is_no_answer_says_what_to_look_at(status: int) -> None:
    faults: dict[str, Fault] = {
        CHAT: lambda handler: handler.send(status, b"<html>"),
        "/v1/completions": lambda handler: handler.send(status, b""),
    }
    with StandIn(faults=faults) as server, pytest.raises(TrialFailedError, match=f"answers {status}") as caught:
        tried(server)
    assert f"{server.url}/models" in (caught.value.next_command or "")


def test_control_characters_of_a_server_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    faults: dict[str, Fault] = {CHAT: lambda handler: handler.send(503, b'{"error": {"message": "\\u001b[2J gone"}}')}
    with StandIn(faults=faults) as server:
        assert main(["try", "--engine", server.url]) == 9
    said = capsys.readouterr().err
    assert "gone" in said
    assert "\x1b" not in said


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
