"""What the Hub sent: the status and the headers that tell its errors apart, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: status, body, the Hub's own words for an error, and the commit it belongs to.

    `total_bytes` is the size of the whole file where a part of it was asked for, `first_byte` where that part begins; `wait_s` is what a
    429 asks for.
    """

    status: int
    body: bytes = b""
    error_code: str = ""
    error_message: str = ""
    commit: str | None = None
    total_bytes: int | None = None
    first_byte: int | None = None
    token_sent: bool = False
    wait_s: float | None = None


def answer_of(
    status: int, headers: Mapping[str, str], body: bytes = b"", *, commit: str | None, token_sent: bool
) -> Answer:
    """The answer with these headers, their names in lower case."""
    first, total = _content_range(headers.get("content-range", ""))
    return Answer(
        status=status,
        body=body,
        error_code=headers.get("x-error-code", ""),
        error_message=headers.get("x-error-message", "")[:300],
        commit=commit,
        total_bytes=total,
        first_byte=first,
        token_sent=token_sent,
        wait_s=_wait_s(headers) if status == 429 else None,
    )


def _content_range(value: str) -> tuple[int | None, int | None]:
    """Where the part begins, and the size of the whole file.

    >>> _content_range("bytes 0-99/16060522904"), _content_range("bytes */5")
    ((0, 16060522904), (None, None))
    """
    found = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", value, re.ASCII)
    return (int(found[1]), int(found[2])) if found else (None, None)


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait after a 429: what its headers say.

    >>> _wait_s({"ratelimit": '"api";r=0;t=55'}), _wait_s({"retry-after": "7"}), _wait_s({})
    (55.0, 7.0, None)
    """
    found = re.search(r"\bt=(\d{1,6})", headers.get("ratelimit", ""), re.ASCII) or re.fullmatch(
        r"(\d{1,6})", headers.get("retry-after", ""), re.ASCII
    )
    return float(found[1]) if found else None
