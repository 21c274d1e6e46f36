"""A Hub on this machine's loopback: real HTTP, so that the real client runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the loopback Hub answers for one path."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    wait_s: float = 0.0


@contextmanager
def serve(replies: dict[str, Reply]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The address of a server that answers `replies`, and the list of requests it got: path and authorization."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("authorization")))
            reply = replies.get(self.path, Reply(status=404, headers={"X-Error-Code": "RepoNotFound"}))
            time.sleep(reply.wait_s)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
