"""The stand-in Hub's two origins: the Hub and its content network, real HTTP on loopback, so that real clients run against it."""

from __future__ import annotations

import gzip
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

from tests.stand_in.content import Repository
from tests.stand_in.routes import Reply, answer

TLS = Path(__file__).parents[1] / "fixtures" / "tls"


@dataclass
class Fault:
    """What goes wrong where the path matches: the first `times` times, or for ever.

    `how` is `reply` (send `reply` instead), or what is done to the right answer: `drop`, `slow-headers`, `trickle`, `truncate`,
    `long-length`, `ignore-range`, `gzip`.
    """

    path: str
    how: str = "reply"
    reply: Reply = field(default_factory=Reply)
    times: int | None = None
    only_on: str | None = None


@dataclass(frozen=True)
class Seen:
    """One request as it came: to the `hub` or the `cdn`."""

    origin: str
    method: str
    path: str
    token: str | None
    range: str | None


@dataclass
class StandIn:
    """The state that both origins share; the Hub's addresses begin with the path `below`."""

    repositories: dict[str, Repository]
    redirecting: bool = True
    combined_headers: bool = True
    page_size: int = 1000
    below: str = ""
    tokens: Mapping[str, str] = field(default_factory=lambda: {"hf_good": "granted", "hf_no_grant": "no-grant"})
    renames: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    sent_bytes: int = 0
    hub: str = ""
    cdn: str = ""
    lock: Lock = field(default_factory=Lock)

    def fault_for(self, origin: str, path: str) -> Fault | None:
        """The fault to show for this request, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.only_on in (None, origin) and re.search(fault.path, path) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def paths(self) -> list[str]:
        """Method, origin and path of every request so far."""
        return [f"{seen.method} {seen.origin} {seen.path}" for seen in self.seen]


@contextmanager
def stand_in(
    repositories: list[Repository], *, tls: bool = False, port: int = 0, **settings: bool | int
) -> Iterator[StandIn]:
    """A running stand-in with these repositories; `hub` and `cdn` of what is yielded are the addresses."""
    state = StandIn({one.id: one for one in repositories}, **settings)  # type: ignore[arg-type]
    servers = [_server(state, "hub", port), _server(state, "cdn", 0)]
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
        for server in servers:
            server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    state.hub, state.cdn = (f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield state
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _server(state: StandIn, origin: str, port: int) -> ThreadingHTTPServer:
    class Handler(_Handler):
        standin = state
        side = origin

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_arguments: object) -> None:
            """Say nothing: clients of these tests hang up on purpose."""

    return Server(("127.0.0.1", port), Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: StandIn
    side: str

    def do_GET(self) -> None:
        self._respond(body=True)

    def do_HEAD(self) -> None:
        self._respond(body=False)

    def do_POST(self) -> None:
        self._respond(body=True)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _respond(self, *, body: bool) -> None:
        state = self.standin
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        form = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        with state.lock:
            state.seen.append(Seen(self.side, self.command, self.path, token, self.headers.get("range")))
        fault = state.fault_for(self.side, self.path)
        if fault is not None and fault.how == "drop":
            self.close_connection = True
            return
        if fault is not None and fault.how == "slow-headers":
            self._trickle(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 500)
            return
        asked = None if fault is not None and fault.how == "ignore-range" else self.headers.get("range")
        path = self.path.removeprefix(state.below) if self.side == "hub" else self.path
        right = answer(state, self.side, self.command, path, token, asked, form)
        reply = fault.reply if fault is not None and fault.how == "reply" else right
        self._send(reply, "" if fault is None else fault.how, body=body)

    def _send(self, reply: Reply, how: str, *, body: bool) -> None:
        content = gzip.compress(reply.body) if how == "gzip" else reply.body
        size = reply.size if how != "gzip" and reply.size is not None else len(content)
        headers = {"Content-Length": str(size + (999 if how == "long-length" else 0)), **reply.headers}
        if how == "gzip":
            headers["Content-Encoding"] = "gzip"
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if how == "trickle":
            self._trickle(content)
            return
        if how in ("truncate", "long-length"):
            self.close_connection = True
            content = content[: len(content) // 2] if how == "truncate" else content
        self._write(content)
        for _ in range((size - len(content)) // 65536 if how in ("", "ignore-range") else 0):
            self._write(bytes(65536))
        if how in ("", "ignore-range"):
            self._write(bytes((size - len(content)) % 65536))

    def _write(self, data: bytes) -> None:
        with self.standin.lock:  # counted first: afterwards the client may have gone on already
            self.standin.sent_bytes += len(data)
        self.wfile.write(data)

    def _trickle(self, data: bytes) -> None:
        """A byte at a time: a client that only limits the time of one read waits for hours."""
        self.close_connection = True
        for number in range(len(data)):
            self.wfile.write(data[number : number + 1])
            self.wfile.flush()
            time.sleep(0.05)
