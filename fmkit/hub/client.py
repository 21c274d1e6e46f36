"""Asks the Hub small things: a deadline for everything, limits on every body, the token only where it is needed."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from traceback import clear_frames
from typing import TypeVar

from msgspec.structs import replace

from fmkit.errors import NetworkNeededError, UnsafeInputError
from fmkit.hub.answer import Answer
from fmkit.hub.connection import (
    READ_TIMEOUT_S,
    ConnectionLostError,
    NoConnectionError,
    Opened,
    endpoint,
    has_token,
    no_answer,
    opened,
)

DEADLINE_S = 60.0
"""For all requests of one answer together. The client's own timeouts are per read, and a server that trickles never meets them."""

MAX_RECEIVED_BYTES = 64_000_000
"""Of all answers together. All headers of the largest models are 15 MB, the longest header of a GGUF file 11 MB."""

MAX_TRIES = 3
PARALLEL = 8
RETRIED = frozenset((429, 500, 502, 503, 504))
REFUSED = (401, 403)
_BACKOFF_S = 0.5

Result = TypeVar("Result")
Item = TypeVar("Item")


class RangeIgnoredError(Exception):
    """The server sends the whole file where a part was asked for: the body was not read."""


class HubClient:
    """Asks one Hub, within one deadline; counts requests and bytes. `say` hears what a person waits for."""

    def __init__(self, deadline_s: float | None = None, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self.endpoint = endpoint()
        self.requests = 0
        self.received_bytes = 0
        self._deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        self._ends_at = time.monotonic() + self._deadline_s
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
                    _let_go(error)
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
            except ConnectionLostError as error:
                if last or isinstance(error, NoConnectionError) or backoff >= self._left_s():
                    raise no_answer(str(error), where) from error
                time.sleep(backoff)
                continue
            wait = answer.wait_s if answer.wait_s is not None else backoff
            if answer.status not in RETRIED or last or wait >= self._left_s():
                return answer
            if self._say is not None and wait >= 1:
                self._say(f"the Hub asks to wait {wait:.0f} s ...")
            time.sleep(wait)
        raise AssertionError  # pragma: no cover  the last try returns or raises

    def _with_token_if_needed(self, path: str, limit: int, span: tuple[int, int] | None, where: str) -> Answer:
        """Anonymous first: what everybody may read needs no token."""
        answer = self._once(path, limit, span, where, token=self._token_needed)
        if answer.status in REFUSED and not answer.token_sent and has_token():
            self._token_needed = True
            return self._once(path, limit, span, where, token=True)
        return answer

    def _once(self, path: str, limit: int, span: tuple[int, int] | None, where: str, *, token: bool) -> Answer:
        """One request."""
        with opened(
            self.endpoint,
            path,
            where=where,
            token=token,
            asked_range=None if span is None else f"bytes={span[0]}-{span[1]}",
            timeout_s=lambda: max(0.001, min(READ_TIMEOUT_S, self._left_s())),
            counted=self._count,
        ) as found:
            status = found.answer.status
            if span is not None and status == 200:
                raise RangeIgnoredError
            body = b"" if 300 <= status < 400 else self._body(found, limit, where, whole=span is None)
            return replace(found.answer, body=body)

    def _count(self) -> None:
        with self._lock:
            self.requests += 1

    def _body(self, found: Opened, limit: int, where: str, *, whole: bool) -> bytes:
        """The body, unpacked by us: a few kilobytes of gzip can become gigabytes."""
        encoding = found.headers.get("content-encoding", "identity")
        packed = encoding in ("gzip", "x-gzip")
        if (encoding != "identity" and not packed) or (packed and not whole):
            raise UnsafeInputError(
                f"the Hub sends {encoding[:20]!r} where the bytes themselves were asked for", where=where
            )
        declared = found.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
            raise UnsafeInputError(f"the answer is longer than {limit:,} bytes", where=where)
        unpacker = zlib.decompressobj(31) if packed else None
        body = bytearray()
        for chunk in found.response.iter_raw():
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
        return no_answer(f"no answer within {self._deadline_s:g} s", where)


def _let_go(error: BaseException) -> None:
    """Clear what the frames of an error hold: an answer of tens of megabytes would live as long as the error does."""
    behind: BaseException | None = error
    while behind is not None:
        clear_frames(behind.__traceback__)
        behind = behind.__cause__ or behind.__context__
