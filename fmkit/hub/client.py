"""One careful HTTP client for the Hub: a deadline for everything, limits on every body, the token only where it is needed.

The Hub library gives the session (proxies, certificates, user agent) and the token; requests, redirects and retries are ours, because
the library's calls have no deadline that a trickling server meets, and follow links with the token to wherever they lead.
"""

from __future__ import annotations

import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from fmkit import __version__
from fmkit.errors import NetworkNeededError, UnsafeInputError, UsageError

DEFAULT_ENDPOINT = "https://huggingface.co"
DEADLINE_S = 60.0
"""For all requests of one answer together. The client's own timeouts are per read, and a server that trickles never meets them."""

READ_TIMEOUT_S = 10.0
MAX_RECEIVED_BYTES = 64_000_000
"""Of all answers together. All headers of the largest models are 15 MB, the longest header of a GGUF file 11 MB."""

MAX_REDIRECTS = 5
MAX_TRIES = 3
PARALLEL = 8
_RETRIED = frozenset((429, 500, 502, 503, 504))
_REFUSED = (401, 403)
_BACKOFF_S = 0.5

Result = TypeVar("Result")
Item = TypeVar("Item")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub sent: the status and the headers that tell its errors apart, the body, and the commit it belongs to.

    `total_bytes` is the size of the whole file where a part of it was asked for.
    """

    status: int
    body: bytes = b""
    error_code: str = ""
    error_message: str = ""
    commit: str | None = None
    total_bytes: int | None = None
    token_sent: bool = False
    wait_s: float | None = None


class RangeIgnoredError(Exception):
    """The server sends the whole file where a part was asked for: the body was not read."""


class HubClient:
    """Asks one Hub, within one deadline; counts requests and bytes. `say` hears what a person waits for."""

    def __init__(self, deadline_s: float | None = None, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self.endpoint = endpoint()
        self.requests = 0
        self.received_bytes = 0
        self._ends_at = time.monotonic() + (DEADLINE_S if deadline_s is None else deadline_s)
        self._deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        self._token_needed = False
        self._lock = threading.Lock()

    def get(self, path: str, *, limit: int, span: tuple[int, int] | None = None, where: str) -> Answer:
        """The answer for `path`, at most `limit` bytes long; `span` asks for the bytes from first to last of a file.

        Tried again where that helps: after a lost connection, an overloaded server, a 429 whose wait ends before the deadline. Raises
        NetworkNeededError, UnsafeInputError for a body that is too long, RangeIgnoredError.
        """
        return self.within_deadline(lambda: self._with_retries(path, limit, span, where), where)

    def get_all(self, work: Callable[[Item], Result], items: Sequence[Item], where: str) -> list[Result]:
        """`work` done on every item, several at a time, in the order of the items; the first error ends it."""
        results: dict[int, Result] = {}
        errors: list[Exception] = []
        numbers = iter(range(len(items)))

        def run() -> None:
            while not errors:
                with self._lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    results[number] = work(items[number])
                except Exception as error:  # noqa: BLE001  handed to the caller's thread
                    errors.append(error)

        threads = [threading.Thread(target=run, daemon=True) for _ in range(min(PARALLEL, len(items)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self._left_s())
        if errors:
            raise errors[0]
        if len(results) < len(items):
            raise self._too_late(where)
        return [results[number] for number in range(len(items))]

    def within_deadline(self, work: Callable[[], Result], where: str) -> Result:
        """The result of `work`, or NetworkNeededError at the deadline; a thread, for a read of headers can't be interrupted."""
        results: list[Result] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001  handed to the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self._left_s())
        if errors:
            raise errors[0]
        if not results:
            raise self._too_late(where)
        return results[0]

    def _with_retries(self, path: str, limit: int, span: tuple[int, int] | None, where: str) -> Answer:
        for tried in range(1, MAX_TRIES + 1):
            last = tried == MAX_TRIES
            backoff = _BACKOFF_S * 2 ** (tried - 1)
            try:
                answer = self._with_token_if_needed(path, limit, span, where)
            except _ConnectionLostError as error:
                if last or backoff >= self._left_s():
                    raise _no_answer(str(error), where) from error
                time.sleep(backoff)
                continue
            wait = answer.wait_s if answer.wait_s is not None else backoff
            if answer.status not in _RETRIED or last or wait >= self._left_s():
                return answer
            if self._say is not None and wait >= 1:
                self._say(f"the Hub asks to wait {wait:.0f} s ...")
            time.sleep(wait)
        raise AssertionError  # pragma: no cover  the last try returns or raises

    def _with_token_if_needed(self, path: str, limit: int, span: tuple[int, int] | None, where: str) -> Answer:
        """Anonymous first: what everybody may read needs no token."""
        answer = self._once(path, limit, span, where, token=self._token_needed)
        if answer.status in _REFUSED and not answer.token_sent and _headers(token=True).get("authorization"):
            self._token_needed = True
            return self._once(path, limit, span, where, token=True)
        return answer

    def _once(self, path: str, limit: int, span: tuple[int, int] | None, where: str, *, token: bool) -> Answer:
        """One request, redirects followed by hand: the token goes to the Hub's own origin only."""
        url = self.endpoint + path
        commit: str | None = None
        for _ in range(MAX_REDIRECTS + 1):
            at_home = _origin(url) == _origin(self.endpoint)
            headers = _headers(token=token and at_home) | {"accept-encoding": "identity"}
            if span is not None:
                headers["range"] = f"bytes={span[0]}-{span[1]}"
            status, response_headers, body = self._send(url, headers, limit, span, where)
            commit = commit or response_headers.get("x-repo-commit")
            location = response_headers.get("location")
            if status not in (301, 302, 303, 307, 308) or not location:
                return _answer(status, response_headers, body, commit, token_sent=bool(token and at_home))
            url = _redirected(url, location, where)
        raise _no_answer(f"more than {MAX_REDIRECTS} redirects", where)

    def _send(
        self, url: str, headers: dict[str, str], limit: int, span: tuple[int, int] | None, where: str
    ) -> tuple[int, dict[str, str], bytes]:
        client = _session()
        library = import_module(type(client).__module__.partition(".")[0])  # httpx or httpx2: the library's choice
        timeout = max(0.001, min(READ_TIMEOUT_S, self._left_s()))
        with self._lock:
            self.requests += 1
        try:
            with client.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=False) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                if span is not None and response.status_code == 200:
                    raise RangeIgnoredError
                body = b"" if 300 <= response.status_code < 400 else self._body(response, found, limit, span, where)
                return response.status_code, found, body
        except (library.ConnectError, library.UnsupportedProtocol, library.InvalidURL, library.ProxyError) as error:
            raise _no_answer(f"{type(error).__name__}: {error}", where) from error
        except (library.HTTPError, OSError) as error:
            raise _ConnectionLostError(f"{type(error).__name__}: {error}") from error

    def _body(
        self,
        response: Any,  # noqa: ANN401  the library's type
        headers: dict[str, str],
        limit: int,
        span: tuple[int, int] | None,
        where: str,
    ) -> bytes:
        """The body, unpacked by us: a few kilobytes of gzip can become gigabytes."""
        encoding = headers.get("content-encoding", "identity")
        packed = encoding in ("gzip", "x-gzip")
        if (encoding != "identity" and not packed) or (packed and span is not None):
            raise UnsafeInputError(
                f"the Hub sends {encoding[:20]!r} where the bytes themselves were asked for", where=where
            )
        declared = headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
            raise UnsafeInputError(f"the answer is longer than {limit:,} bytes", where=where)
        unpacker = zlib.decompressobj(31) if packed else None
        body = bytearray()
        for chunk in response.iter_raw():
            with self._lock:
                self.received_bytes += len(chunk)
            if self.received_bytes > MAX_RECEIVED_BYTES:
                raise UnsafeInputError(
                    f"the answers are longer than {MAX_RECEIVED_BYTES:,} bytes together", where=where
                )
            try:
                body += unpacker.decompress(chunk, limit + 1 - len(body)) if unpacker is not None else chunk
            except zlib.error:
                raise UnsafeInputError("the Hub sends a body that is no gzip", where=where) from None
            if len(body) > limit:
                raise UnsafeInputError(f"the answer is longer than {limit:,} bytes", where=where)
            if self._left_s() <= 0:
                raise self._too_late(where)
        return bytes(body)

    def _left_s(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def _too_late(self, where: str) -> NetworkNeededError:
        return _no_answer(f"no answer within {self._deadline_s:g} s", where)


class _ConnectionLostError(Exception):
    """The connection broke before the answer was complete."""


def endpoint() -> str:
    """The address of the Hub: HF_ENDPOINT, else the public one."""
    named = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    parts = urlsplit(named)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise UsageError(f"HF_ENDPOINT is no address of a Hub: {named[:80]!r}", where="HF_ENDPOINT")
    return named


def switched_off() -> bool:
    """Whether the user has switched the network off for the Hub."""
    on = {"1", "TRUE", "YES", "ON"}
    return any(os.environ.get(name, "").upper() in on for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _session() -> Any:  # noqa: ANN401  the library's type
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import get_session  # 130 ms

    return get_session()


def _headers(*, token: bool) -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # 130 ms

    headers = build_hf_headers(token=None if token else False, library_name="fmkit", library_version=__version__)
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what a token belongs to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _redirected(url: str, location: str, where: str) -> str:
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        raise UnsafeInputError("the Hub redirects to what is no address", where=where) from None
    if parts.scheme not in ("http", "https") or (urlsplit(url).scheme == "https" and parts.scheme == "http"):
        raise UnsafeInputError(f"the Hub redirects to {parts.scheme or 'nowhere'}, which is not followed", where=where)
    return target


def _answer(status: int, headers: dict[str, str], body: bytes, commit: str | None, *, token_sent: bool) -> Answer:
    return Answer(
        status=status,
        body=body,
        error_code=headers.get("x-error-code", ""),
        error_message=headers.get("x-error-message", "")[:300],
        commit=commit,
        total_bytes=_total_bytes(headers.get("content-range", "")),
        token_sent=token_sent,
        wait_s=_wait_s(headers) if status == 429 else None,
    )


def _total_bytes(content_range: str) -> int | None:
    """The size of the whole file.

    >>> _total_bytes("bytes 0-99/16060522904")
    16060522904
    """
    found = re.fullmatch(r"bytes \d{1,15}-\d{1,15}/(\d{1,18})", content_range)
    return int(found[1]) if found else None


def _wait_s(headers: dict[str, str]) -> float | None:
    """Seconds to wait after a 429: what its headers say.

    >>> _wait_s({"ratelimit": '"api";r=0;t=55'}), _wait_s({"retry-after": "7"}), _wait_s({})
    (55.0, 7.0, None)
    """
    found = re.search(r"\bt=(\d{1,6})", headers.get("ratelimit", "")) or re.fullmatch(
        r"(\d{1,6})", headers.get("retry-after", "")
    )
    return float(found[1]) if found else None


def _no_answer(what: str, where: str) -> NetworkNeededError:
    return NetworkNeededError(
        f"can't reach the Hub ({what[:200]})",
        where=where,
        next_command="check the network or HF_ENDPOINT, or give the path of a folder or config.json",
    )
