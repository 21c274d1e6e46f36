"""config.json of a model on the Hub: from the library's cache, else over the network, within a deadline."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub.cache import COMMIT, cached_file
from fmkit.hub.document import MAX_BYTES, parse_object

DEADLINE_S = 15.0
"""Our own: the client's timeouts are per read, and a server that trickles never meets them."""

READ_TIMEOUT_S = 10.0
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
UNAUTHORISED, FORBIDDEN, NOT_FOUND = 401, 403, 404


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub sent: status and headers that tell its errors apart, the body, and the commit it belongs to."""

    status: int
    error_code: str
    body: bytes
    commit: str | None


def fetch_config(hub_id: str, revision: str | None, offline: bool) -> tuple[dict[str, Any], str]:
    """The config.json of `hub_id` at `revision` (default: main), and the commit it is from."""
    if not HUB_ID.fullmatch(hub_id) or ".." in hub_id:
        raise UsageError(f"{hub_id!r} is no Hub id: write org/name", where=hub_id)
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"{revision!r} is no revision: write a branch, tag or commit", where=f"{hub_id}@{revision}")
    where = f"{hub_id}/config.json" if revision is None else f"{hub_id}@{revision}/config.json"
    cached = cached_file(hub_id, revision, "config.json")
    if cached is not None:
        file, commit = cached
        with file.open("rb") as stream:
            return parse_object(stream.read(MAX_BYTES + 1), where=str(file)), commit
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise NetworkNeededError(
            f"{hub_id} is neither in the catalog nor in the Hub's cache on this disk, and the network is off",
            where=where,
            next_command="leave out --offline (and HF_HUB_OFFLINE), or give the path of its config.json",
        )
    answer = within_deadline(lambda: _download(hub_id, revision, where), where, DEADLINE_S)
    _raise_for_status(answer, hub_id, revision, where)
    if answer.commit is None or not COMMIT.fullmatch(answer.commit):
        raise UnsafeInputError("the answer names no commit; is HF_ENDPOINT a Hub?", where=where)
    return parse_object(answer.body, where=where), answer.commit


def within_deadline(work: Callable[[], Answer], where: str, deadline_s: float) -> Answer:
    """The result of `work`, or NetworkNeededError when it takes longer than `deadline_s` seconds."""
    results: list[Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if errors:
        raise errors[0]
    if not results:
        raise _no_answer(f"no answer within {deadline_s:g} s", where)
    return results[0]


def _download(hub_id: str, revision: str | None, where: str) -> Answer:
    """One GET, read up to the size limit. The token goes only to the Hub: the client drops it on another origin."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    client = get_session()
    library = import_module(type(client).__module__.partition(".")[0])  # httpx or httpx2: the library's choice
    url = hf_hub_url(hub_id, "config.json", revision=revision, endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        with client.stream(
            "GET", url, headers=build_hf_headers(), timeout=READ_TIMEOUT_S, follow_redirects=True
        ) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
            answers = [*response.history, response]
            commit = next((found for each in answers if (found := each.headers.get("x-repo-commit"))), None)
            return Answer(
                status=response.status_code,
                error_code=response.headers.get("x-error-code", ""),
                body=bytes(body),
                commit=commit,
            )
    except FmkitError:
        raise
    except (library.HTTPError, library.InvalidURL, OSError) as error:
        raise _no_answer(f"{type(error).__name__}: {error}", where) from error


def _raise_for_status(answer: Answer, hub_id: str, revision: str | None, where: str) -> None:
    """Tell apart what the Hub answers; a 401 can mean missing, private or gated, and is never called "not found" alone."""
    gated = answer.error_code == "GatedRepo"
    if gated or answer.status == FORBIDDEN:
        raise ModelNotFoundError(
            f"{hub_id} is gated: its publisher grants access on request",
            where=where,
            next_command="ask at the model's page on the Hub, then set HF_TOKEN; or fmkit vram PATH/config.json",
        )
    if answer.status == UNAUTHORISED or (answer.status == NOT_FOUND and answer.error_code in {"", "RepoNotFound"}):
        raise ModelNotFoundError(
            f"the Hub shows no model {hub_id}: it does not exist, or it is private and needs a token",
            where=where,
            next_command="check the spelling, or set HF_TOKEN",
        )
    if answer.status == NOT_FOUND and answer.error_code == "RevisionNotFound":
        raise ModelNotFoundError(f"{hub_id} has no revision {revision or 'main'}", where=where)
    if answer.status == NOT_FOUND:
        raise ModelNotFoundError(
            f"{hub_id} has no config.json (a repository of GGUF files or adapters only?)", where=where
        )
    if answer.status != 200:
        raise _no_answer(f"the Hub answers with status {answer.status}", where)


def _no_answer(what: str, where: str) -> NetworkNeededError:
    return NetworkNeededError(
        f"can't reach the Hub ({what})",
        where=where,
        next_command="check the network or HF_ENDPOINT, or give the path of a config.json",
    )
