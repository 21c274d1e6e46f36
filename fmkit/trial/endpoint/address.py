"""Where a server listens, and the key that may go there."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import msgspec

from fmkit.errors import UsageError

KEY_VARIABLES = ("FMKIT_ENDPOINT_KEY", "OPENAI_API_KEY")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens; `base` is the path of its OpenAI-compatible interface, `root` the one its own pages are under."""

    secure: bool
    host: str
    port: int
    base: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a key belongs to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    @property
    def root(self) -> str:
        """The path that /metrics, /props and the like are under."""
        return self.base.removesuffix("/v1")

    @property
    def is_local(self) -> bool:
        """Whether it is this computer's own loopback address."""
        return self.host in LOOPBACK


def is_address(engine: str) -> bool:
    """Whether an engine is named by the address of a server, be it without the scheme that one needs.

    >>> is_address("http://localhost:8000/v1"), is_address("localhost:8000"), is_address("llama.cpp")
    (True, True, False)
    """
    return "://" in engine or re.fullmatch(r"[\w.-]+:\d+(/\S*)?", engine) is not None


def parse_address(text: str) -> Address:
    """The address of a server; without a path, /v1 is meant.

    >>> parse_address("http://localhost:8000").base, parse_address("https://api.example.org/openai/v1/").origin
    ('/v1', 'https://api.example.org:443')
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise _no_address(text) from None
    plain = not (parts.query or parts.fragment) and text.isascii() and not any(char.isspace() for char in text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise _no_address(text)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"an address takes no name or password: set {KEY_VARIABLES[0]} instead", where="--engine"
        )  # and is not repeated here, for it holds a secret
    secure = parts.scheme == "https"
    return Address(
        secure=secure, host=parts.hostname, port=port or (443 if secure else 80), base=parts.path.rstrip("/") or "/v1"
    )


def _no_address(text: str) -> UsageError:
    shown = text.rpartition("@")[2][:80]
    return UsageError(
        f"no address of a server: {shown!r}; write one such as http://localhost:8000/v1", where="--engine"
    )


def key_for(address: Address) -> str | None:
    """The key in the environment. OPENAI_API_KEY, which is set for other programs, does not go unencrypted over a network."""
    named = os.environ.get(KEY_VARIABLES[0], "").strip()
    if named:
        return named
    return os.environ.get(KEY_VARIABLES[1], "").strip() or None if address.secure or address.is_local else None
