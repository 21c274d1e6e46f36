"""A careful HTTP client for one OpenAI-compatible server: deadlines, limits on every answer, the key only where it is asked for.

The standard library's client, on a connection of its own for each request: a token's time of arrival must not wait for a buffer or
a pool. No proxy is used and no redirect is followed, so that a key reaches the origin that was named and no other.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead

import msgspec

from fmkit import __version__
from fmkit.errors import NetworkNeededError, TrialFailedError
from fmkit.trial.endpoint.address import KEY_VARIABLES, Address, key_for
from fmkit.units import KIB, MIB

MOST_ANSWER_BYTES = 4 * MIB
MOST_LINE_BYTES = 1 * MIB
MOST_ERROR_BYTES = 64 * KIB
READ_BYTES = 64 * KIB
WATCH_S = 0.2
"""How often a watch looks at its deadline."""


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to wait for a connection, for a whole short answer, for the first token (a long prompt on a CPU) and for each next one."""

    connect_s: float = 10.0
    answer_s: float = 30.0
    first_token_s: float = 600.0
    next_token_s: float = 60.0


class RefusedError(TrialFailedError):
    """The server answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, message: str, *, where: str, next_command: str | None = None) -> None:
        super().__init__(message, where=where, next_command=next_command)
        self.status = status


class EndpointClient:
    """Asks one server. Thread-safe; `cancel` ends every request that is under way."""

    def __init__(self, address: Address, deadlines: Deadlines | None = None, *, key: str | None = None) -> None:
        """`key` is what the server was started with, where that is known; else it is looked for in the environment."""
        self.address = address
        self.deadlines = deadlines or Deadlines()
        self._key = key_for(address) if key is None else key
        self._key_asked_for = False
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End what is under way, and take no more requests."""
        self._cancelled.set()

    def get(self, path: str) -> bytes:
        """The body at `path`; RefusedError, NetworkNeededError, TrialFailedError for what is no answer."""
        with self._exchange("GET", path, None, self.deadlines.answer_s) as (response, watch):
            return _body(response, watch, MOST_ANSWER_BYTES, self.address.origin + path)

    def post(self, path: str, body: object, *, most_bytes: int = MOST_ANSWER_BYTES) -> bytes:
        """The whole answer to `body`, sent as JSON; raises as `get`, and waits as long as for a first token."""
        data = msgspec.json.encode(body)
        with self._exchange("POST", path, data, self.deadlines.first_token_s) as (response, watch):
            return _body(response, watch, most_bytes, self.address.origin + path)

    def stream(self, path: str, body: object, take: Callable[[float, bytes], bool], *, most_bytes: int) -> bool:
        """Give server-sent events to `take` as they come: seconds since the request was sent, and the data. Whether `[DONE]` came.

        `take` says whether the event brought a token: only that starts the wait for the next one. Raises TrialFailedError where the
        stream breaks off, brings nothing for too long or exceeds `most_bytes`.
        """
        where = self.address.origin + path
        data = msgspec.json.encode(body)
        with self._exchange("POST", path, data, self.deadlines.first_token_s) as (response, watch):
            kind = response.headers.get_content_type()
            if kind != "text/event-stream":
                raise TrialFailedError(
                    f"the server answers with {kind[:60]} where a stream of events was asked for",
                    where=where,
                    next_command="give the address of an OpenAI-compatible interface; it often ends with /v1",
                )
            for line in _lines(response, watch, most_bytes, where):
                if not line.startswith(b"data:"):
                    continue
                payload = line[5:].strip()
                if payload == b"[DONE]":
                    return True
                if take(time.perf_counter() - watch.sent_at, payload):
                    watch.allow(self.deadlines.next_token_s)
        return False

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: bytes | None, allowed_s: float
    ) -> Iterator[tuple[HTTPResponse, _Watch]]:
        """One request and its answer, whose status is good; once more with the key where the server asks for one."""
        where = self.address.origin + path
        key = self._key
        with_key = self._key_asked_for and key is not None
        while True:
            connection = self._connected(where)
            watch = _Watch(connection.sock, allowed_s, self._cancelled)
            try:
                with closing(self._sent(connection, watch, method, path, body, key if with_key else None)) as response:
                    if watch.expired:  # headers that were cut short parse as well
                        raise watch.reason(TimeoutError(), where)
                    if response.status not in (401, 403) or key is None or with_key:
                        if response.status != 200:
                            raise _refusal(response, watch, where, with_key=with_key)
                        yield response, watch
                        return
                with_key = self._key_asked_for = True
            except (HTTPException, OSError, ValueError) as error:
                raise self._with_next(watch.reason(error, where)) from error
            except TrialFailedError as error:
                self._with_next(error)
                raise
            finally:
                watch.stop()
                connection.close()

    def look(self) -> str:
        """What to type to see how the server is."""
        return f"look at the server's log, and try again: curl {self.address.origin}{self.address.base}/models says whether it answers"

    def _with_next(self, error: TrialFailedError) -> TrialFailedError:
        error.next_command = error.next_command or self.look()
        return error

    def _connected(self, where: str) -> HTTPConnection:
        make = HTTPSConnection if self.address.secure else HTTPConnection
        connection = make(self.address.host, self.address.port, timeout=self.deadlines.connect_s)
        try:
            connection.connect()
        except (OSError, ValueError) as error:  # ValueError: a name that is none
            raise NetworkNeededError(
                f"can't reach the server: {_words(error)}",
                where=where,
                next_command=f"start it, or check the address: curl {self.address.origin}{self.address.base}/models",
            ) from error
        return connection

    def _sent(
        self, connection: HTTPConnection, watch: _Watch, method: str, path: str, body: bytes | None, key: str | None
    ) -> HTTPResponse:
        headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"fmkit/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        watch.sent_at = time.perf_counter()
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse()


class _Watch:
    """Shuts a socket at its deadline: a server that sends a byte now and then meets every timeout of a single read."""

    def __init__(self, sock: socket.socket, allowed_s: float, cancelled: threading.Event) -> None:
        self.sent_at = time.perf_counter()
        self.expired = False
        self._sock = sock
        self._cancelled = cancelled
        self._done = threading.Event()
        sock.settimeout(None)
        self.allow(allowed_s)
        threading.Thread(target=self._run, daemon=True).start()

    def allow(self, seconds: float) -> None:
        """So long from now on."""
        self._allowed_s = seconds
        self._ends_at = time.monotonic() + seconds

    def stop(self) -> None:
        self._done.set()

    def reason(self, error: Exception, where: str) -> TrialFailedError:
        """What broke a connection: us at the deadline, or the server."""
        if self.expired:
            return TrialFailedError(f"the server did not go on within {self._allowed_s:g} s", where=where)
        if isinstance(error, IncompleteRead):
            return TrialFailedError("the server closed the connection in the middle of its answer", where=where)
        return TrialFailedError(f"the connection was lost: {_words(error)}", where=where)

    def _run(self) -> None:
        while not self._done.wait(WATCH_S):
            late = time.monotonic() >= self._ends_at
            if late or self._cancelled.is_set():
                self.expired = late
                try:
                    socket.socket.shutdown(
                        self._sock, socket.SHUT_RDWR
                    )  # of TLS too: SSLSocket.shutdown forgets its state
                except OSError:  # closed already
                    return
                return


def _lines(response: HTTPResponse, watch: _Watch, most_bytes: int, where: str) -> Iterator[bytes]:
    """Lines as they arrive, without their ends."""
    received, rest = 0, b""
    while chunk := response.read1(READ_BYTES):
        received += len(chunk)
        if received > most_bytes:
            raise TrialFailedError(f"the stream is longer than {most_bytes:,} bytes", where=where)
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > MOST_LINE_BYTES:
            raise TrialFailedError(f"a line of the stream is longer than {MOST_LINE_BYTES:,} bytes", where=where)
        yield from whole
    if watch.expired:
        raise watch.reason(TimeoutError(), where)


def _body(response: HTTPResponse, watch: _Watch, most_bytes: int, where: str) -> bytes:
    body = bytearray()
    while chunk := response.read1(READ_BYTES):
        body += chunk
        if len(body) > most_bytes:
            raise TrialFailedError(f"the answer is longer than {most_bytes:,} bytes", where=where)
    if watch.expired:
        raise watch.reason(TimeoutError(), where)
    return bytes(body)


def _refusal(response: HTTPResponse, watch: _Watch, where: str, *, with_key: bool) -> RefusedError:
    """What a status other than 200 means."""
    status = response.status
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")[:120]
        return RefusedError(
            status,
            f"the server redirects to {target}, which is not followed",
            where=where,
            next_command="give the address that it redirects to",
        )
    if status in (401, 403):
        said = "refuses the key" if with_key else "wants a key"
        return RefusedError(
            status,
            f"the server {said} ({status})",
            where=where,
            next_command=f"export {KEY_VARIABLES[0]}=..., and try again",
        )
    said = _message(_body(response, watch, MOST_ERROR_BYTES, where))
    return RefusedError(
        status, f"the server answers {status} {response.reason[:40]}{f': {said}' if said else ''}", where=where
    )


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()
    message: str = ""
    detail: msgspec.Raw = msgspec.Raw()


class _ErrorText(msgspec.Struct):
    message: str


def _message(body: bytes) -> str:
    """The sentence in an error's body, in the forms that servers use; nothing where there is none."""
    try:
        found = msgspec.json.decode(body, type=_ErrorBody)
        raw = bytes(found.error) or bytes(found.detail)
        if not raw:
            return _short(found.message)
        try:
            return _short(msgspec.json.decode(raw, type=_ErrorText).message)
        except msgspec.MsgspecError:
            return _short(raw.decode(errors="replace").strip('"'))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _short(str(text))


def _short(text: str, most: int = 300) -> str:
    return " ".join(text.split())[:most]
