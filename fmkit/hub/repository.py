"""A repository on the Hub: what it holds, pinned to a commit, in one request. Names are checked before anything is asked."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from fmkit.errors import UnsafeInputError, UsageError
from fmkit.hub.cache import COMMIT
from fmkit.hub.card import licence_words
from fmkit.hub.client import HubClient
from fmkit.hub.refusals import disabled, refusal
from fmkit.hub.text_files import summary_facts
from fmkit.model.text import TextFacts

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
MAX_INFO_BYTES = 24_000_000
MAX_FILES = 100_000
MAX_VALUES = 20 * MAX_FILES
"""In the Hub's answer, counted before it is parsed; a file has seven."""

MAX_FILE_BYTES = 2**44
"""The Hub takes no file of more than 500 GB."""

MAX_NAME = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str | None = None


class _Sibling(msgspec.Struct, frozen=True):
    rfilename: str
    size: int | None = None
    blobId: str | None = None  # noqa: N815  the Hub's name
    lfs: _Lfs | None = None


class _Info(msgspec.Struct, frozen=True):
    """What is read of the Hub's answer about a repository."""

    id: str
    sha: str
    gated: bool | str | None = None
    disabled: bool | None = None
    siblings: list[_Sibling] | None = None
    config: Any = None
    gguf: Any = None
    tags: Any = None
    cardData: Any = None  # noqa: N815


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What the content of a file has to add up to: `sha256` of large files, git's own `blob` digest of small ones."""

    kind: Literal["sha256", "blob"]
    value: str


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at one commit: `hub_id` is the name the Hub answers with, `sizes` are bytes by file name.

    `text` is the Hub's own summary, `licence` in the publisher's words.
    """

    hub_id: str
    commit: str
    gated: bool
    licence: str | None = None
    sizes: dict[str, int]
    digests: dict[str, Digest] = {}
    text: TextFacts | None = None
    notes: tuple[str, ...] = ()


def check_name(hub_id: str, revision: str | None) -> None:
    """Refuse what is no id or revision before anything is asked."""
    if not HUB_ID.fullmatch(hub_id) or ".." in hub_id:
        raise UsageError(f"{hub_id!r} is no Hub id: write org/name", where=hub_id)
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"{revision!r} is no revision: write a branch, tag or commit", where=f"{hub_id}@{revision}")


def fetch_repository(client: HubClient, hub_id: str, revision: str | None) -> Repository:
    """What the repository holds at `revision` (default: main). One request.

    Raises ModelNotFoundError, NetworkNeededError, UnsafeInputError.
    """
    where = hub_id if revision is None else f"{hub_id}@{revision}"
    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    answer = client.get(f"/api/models/{hub_id}{at}?blobs=true", limit=MAX_INFO_BYTES, where=where)
    if answer.status != 200:
        raise refusal(answer, hub_id, revision, where)
    info = _info(answer.body, where)
    if info.disabled:
        raise disabled(hub_id, where)
    siblings = info.siblings or []
    names = [one for one in siblings if _is_plain(one.rfilename)]
    notes = []
    if len(names) < len(siblings):
        notes.append(
            f"{len(siblings) - len(names):,} files have names that no repository should have, and were left out"
        )
    if info.id != hub_id:
        notes.append(f"the Hub answers {hub_id} with {info.id}: it was renamed, or is written so")
    if any((one.size or 0) > MAX_FILE_BYTES for one in names):
        raise UnsafeInputError(f"the repository claims a file of more than {MAX_FILE_BYTES:,} bytes", where=where)
    if names and all(one.size is None for one in names):
        notes.append("this Hub gives no file sizes")
    return Repository(
        hub_id=info.id,
        commit=info.sha,
        gated=bool(info.gated),
        licence=licence_words(info.tags, info.cardData),
        sizes={one.rfilename: one.size for one in names if one.size is not None and one.size >= 0},
        digests={one.rfilename: digest for one in names if (digest := _digest(one)) is not None},
        text=summary_facts(info.config, info.gguf, {one.rfilename for one in names}),
        notes=tuple(notes),
    )


def _info(body: bytes, where: str) -> _Info:
    if body.count(b"{") > 2 * MAX_FILES or sum(body.count(mark) for mark in (b",", b"[")) > MAX_VALUES:
        raise UnsafeInputError(f"the repository claims more than {MAX_FILES:,} files", where=where)
    try:
        info = msgspec.json.decode(body, type=_Info)
    except (ValueError, RecursionError) as error:
        raise UnsafeInputError(
            f"the answer is none of a Hub ({str(error)[:120]}); is HF_ENDPOINT right?", where=where
        ) from None
    if not COMMIT.fullmatch(info.sha):
        raise UnsafeInputError("the answer names no commit; is HF_ENDPOINT a Hub?", where=where)
    if not HUB_ID.fullmatch(info.id) or ".." in info.id:
        raise UnsafeInputError(f"the Hub answers with {info.id[:80]!r}, which is no Hub id", where=where)
    return info


def _digest(file: _Sibling) -> Digest | None:
    """The digest that the Hub states; the blob of a large file is that of its pointer, and says nothing of the content."""
    if file.lfs is not None:
        sha256 = file.lfs.sha256 or ""
        return Digest(kind="sha256", value=sha256) if _SHA256.fullmatch(sha256) else None
    return Digest(kind="blob", value=file.blobId) if file.blobId is not None and COMMIT.fullmatch(file.blobId) else None


def _is_plain(name: str) -> bool:
    """Whether a file name stays inside the repository and can be put into an address."""
    parts = name.split("/")
    return (
        0 < len(name) <= MAX_NAME
        and name.isprintable()
        and "\\" not in name
        and not any(part in {"", ".", ".."} for part in parts)
    )
