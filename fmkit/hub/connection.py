"""One exchange with the Hub: redirects followed by hand, the token only to the Hub's own origin, errors in two kinds.

The Hub library gives the session (proxies, certificates, user agent) and the token. Its own calls follow links with the token to
wherever they lead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from fmkit import __version__
from fmkit.errors import NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub.answer import Answer, answer_of

DEFAULT_ENDPOINT = "https://huggingface.co"
READ_TIMEOUT_S = 10.0
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class ConnectionLostError(Exception):
    """The connection broke before the answer was complete."""


class NoConnectionError(ConnectionLostError):
    """There was none to begin with."""


class Opened(NamedTuple):
    """The beginning of an answer: status and headers are there, the body still has to be read from `response`."""

    response: Any
    headers: Mapping[str, str]
    answer: Answer


@contextmanager
def opened(
    home: str,
    path: str,
    *,
    where: str,
    token: bool,
    asked_range: str | None = None,
    timeout_s: Callable[[], float] = lambda: READ_TIMEOUT_S,
    counted: Callable[[], None] = lambda: None,
) -> Iterator[Opened]:
    """The answer to a GET of `path` at the Hub `home`, redirects followed; `token` lets the Hub's own origin see the user's.

    `timeout_s` is how long one read may take from now, `counted` hears of each request. Raises ConnectionLostError, also while the body is
    read, UnsafeInputError for a redirect that leads nowhere good, NetworkNeededError for too many.
    """
    client = _session()
    url = home + path
    commit: str | None = None
    for _ in range(MAX_REDIRECTS + 1):
        with_token = token and _origin(url) == _origin(home)
        headers = _headers(token=with_token) | {"accept-encoding": "identity"}
        if asked_range is not None:
            headers["range"] = asked_range
        counted()
        with (
            _translated(client),
            client.stream("GET", url, headers=headers, timeout=timeout_s(), follow_redirects=False) as response,
        ):
            found = {name.lower(): value for name, value in response.headers.items()}
            commit = commit or found.get("x-repo-commit")
            location = found.get("location")
            if response.status_code not in _REDIRECTS or not location:
                answer = answer_of(response.status_code, found, commit=commit, token_sent=with_token)
                yield Opened(response, found, answer)
                return
        url = _redirected(url, location, where)
    raise no_answer(f"more than {MAX_REDIRECTS} redirects", where)


@contextmanager
def _translated(client: Any) -> Iterator[None]:  # noqa: ANN401  the library's type
    """The errors of the library's HTTP client (httpx or httpx2: the library's choice) as ours."""
    library = import_module(type(client).__module__.partition(".")[0])
    try:
        yield
    except (library.ConnectError, library.UnsupportedProtocol, library.InvalidURL, library.ProxyError) as error:
        raise NoConnectionError(f"{type(error).__name__}: {error}") from error
    except (library.HTTPError, OSError) as error:
        raise ConnectionLostError(f"{type(error).__name__}: {error}") from error


def endpoint() -> str:
    """The address of the Hub: HF_ENDPOINT, else the public one."""
    named = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    if not _is_address(named):
        raise UsageError(f"HF_ENDPOINT is no address of a Hub: {named[:80]!r}", where="HF_ENDPOINT")
    return named


def _is_address(text: str) -> bool:
    """Whether it is scheme, host, and perhaps port and path: no name, password or question.

    >>> _is_address("https://hub.example:8443/mirror"), _is_address("http://:secret@hub.example"), _is_address("http://hub:99999")
    (True, False, False)
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    plain = text.isprintable() and " " not in text and not set(parts.netloc) & set("@\\")
    return (
        plain and parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    )


def switched_off() -> bool:
    """Whether the user has switched the network off for the Hub."""
    on = {"1", "TRUE", "YES", "ON"}
    return any(os.environ.get(name, "").upper() in on for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def has_token() -> bool:
    """Whether the user has a token for the Hub."""
    return "authorization" in _headers(token=True)


def no_answer(what: str, where: str) -> NetworkNeededError:
    """The error for a Hub that can't be reached."""
    return NetworkNeededError(
        f"can't reach the Hub ({what[:200]})",
        where=where,
        next_command="check the network or HF_ENDPOINT, or give the path of a folder or config.json",
    )


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
