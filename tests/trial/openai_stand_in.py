"""A scripted OpenAI-compatible server on loopback: it keeps exact times, logs them, and misbehaves on request."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from fmkit.api.try_model import try_model
from fmkit.results.trial import TrialResult
from tests.stand_in.server import TLS

CHAT = "/v1/chat/completions"
TEMPLATE_TOKENS = 7
"""What the stand-in's chat template adds to a prompt, in which every word is one token."""

Fault = Callable[["Handler"], None]


class StandIn:
    """`with StandIn(...) as server:` listens at `server.url`.

    The first token comes `first_s` after a request, each further one `each_s` later. `faults` replace the answer at a path. `times`
    are, for each stream, the seconds from its request to every token as it was written; `seen` the requests with their headers.
    """

    def __init__(
        self,
        *,
        models: list[dict[str, Any]] | None = None,
        pages: dict[str, bytes] | None = None,
        faults: dict[str, Fault] | None = None,
        first_s: float = 0.0,
        each_s: float = 0.0,
        usage: bool = True,
        chat: bool = True,
        per_chunk: int = 1,
        words: str = "and so it goes on",
        stop_after: int | None = None,
        key: str | None = None,
        refuses: tuple[str, ...] = (),
        tls: bool = False,
    ) -> None:
        self.models = [{"id": "org/tiny", "owned_by": "someone"}] if models is None else models
        self.pages = pages or {}
        self.faults = faults or {}
        self.first_s, self.each_s, self.usage, self.chat, self.per_chunk = first_s, each_s, usage, chat, per_chunk
        self.words, self.stop_after, self.key, self.refuses = words.split(), stop_after, key, refuses
        self.times: list[list[float]] = []
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.stand_in = self
        self.url = f"{'https' if tls else 'http'}://localhost:{self._server.server_port}/v1"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    stand_in: StandIn

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    """One request; `body` is what was asked."""

    protocol_version = "HTTP/1.1"
    server: _Server
    body: dict[str, Any]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.body = {}
        self._answer()

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer()

    def _answer(self) -> None:
        started = time.perf_counter()
        server = self.server.stand_in
        server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, self.body))
        if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
            self.send(401, b'{"error": {"message": "no key"}}')
        elif self.path in server.faults:
            server.faults[self.path](self)
        elif self.path == "/v1/models":
            self.send(200, json.dumps({"object": "list", "data": server.models}).encode())
        elif self.path in server.pages:
            self.send(200, server.pages[self.path])
        elif self.path in ("/v1/chat/completions", "/v1/completions"):
            self._complete(server, started)
        else:
            self.send(404, b'{"detail": "Not Found"}')

    def _complete(self, server: StandIn, started: float) -> None:
        chat = self.path.endswith("chat/completions")
        refused = [name for name in server.refuses if name in self.body]
        if refused or (chat and not server.chat):
            message = f"unknown argument {refused[0]}" if refused else "this model has no chat template"
            self.send(400, json.dumps({"error": {"message": message, "code": 400}}).encode())
            return
        prompt = self.body["messages"][0]["content"] if chat else self.body["prompt"]
        tokens = min(self.body["max_tokens"], server.stop_after or 10**9)
        self.start_stream()
        written: list[float] = []
        for first in range(0, tokens, server.per_chunk):
            count = min(server.per_chunk, tokens - first)
            due = started + server.first_s + server.each_s * first
            time.sleep(max(0.0, due - time.perf_counter()))
            written.append(time.perf_counter() - started)
            self.event(
                _choice(chat, " ".join(server.words[(first + i) % len(server.words)] for i in range(count)) + " ")
            )
        server.times.append(written)
        self.event(_choice(chat, "", "length" if tokens == self.body["max_tokens"] else "stop"))
        if server.usage and self.body.get("stream_options", {}).get("include_usage"):
            prompt_tokens = len(prompt.split()) + (TEMPLATE_TOKENS if chat else 0)
            self.event({"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}})
        self.write(b"data: [DONE]\n\n")
        self.write(b"")

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def start_stream(self, kind: str = "text/event-stream") -> None:
        """The head of a stream in chunks."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, data: dict[str, Any]) -> None:
        """One server-sent event."""
        self.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    def write(self, data: bytes) -> None:
        """One chunk of the transfer; an empty one is the end."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def token(self, text: str = "a ") -> None:
        """One token of a chat."""
        self.event(_choice(chat=True, text=text))


def _choice(chat: bool, text: str, finish: str | None = None) -> dict[str, Any]:
    said = {"delta": {"content": text}} if chat else {"text": text}
    return {"choices": [{"index": 0, "finish_reason": finish, **said}]}


def say(handler: Handler, *deltas: dict[str, Any]) -> None:
    """A whole stream of these deltas."""
    handler.start_stream()
    for delta in deltas:
        handler.event({"choices": [{"delta": delta}]})
    handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    handler.write(b"data: [DONE]\n\n")
    handler.write(b"")


def tried(server: StandIn, model: str | None = None, **options: Any) -> TrialResult:
    """A short trial at the stand-in, without checks unless they are asked for."""
    return try_model(model, engine=server.url, **{"checks": ["none"], "repeat": 1, "context": 128, **options})


LLAMA_SERVER = """
import sys, xllamacpp as x
p = x.CommonParams()
p.model.path, p.hostnames, p.port, p.n_ctx, p.n_parallel = sys.argv[1], ["127.0.0.1"], 0, 4096, 2
p.endpoint_metrics, p.warmup, p.cpuparams.n_threads = True, False, 1
s = x.Server(p)
print(s.listening_address, flush=True)
sys.stdin.read()
"""


def running_llama_server(path: Path) -> Iterator[str]:
    """The address of a real llama-server with a file; it ends when its standard input does."""
    with subprocess.Popen(
        [sys.executable, "-c", LLAMA_SERVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:  # fmt: skip
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
