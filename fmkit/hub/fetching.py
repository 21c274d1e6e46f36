"""The process that downloads: `python -m fmkit.hub.fetching`, told what by a line of JSON (an Order) on its stdin.

Threads that download can't be stopped before their files are whole; a process can be ended. It prints a Fetched as JSON at its end.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError
from fmkit.hub.cache import repository_folder
from fmkit.hub.resuming import WantedFile, fetch_into_cache
from fmkit.hub.verifying import verify
from fmkit.subprocesses import die_with_parent

MOST_PLAIN_BYTES = 50 * 10**9
"""The Hub gives longer files through Xet only, which the library speaks and which starts over after a break."""

PARALLEL = 8


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to download: these files of one commit."""

    hub_id: str
    commit: str
    files: tuple[WantedFile, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels to the parent."""

    exit_code: int
    message: str
    where: str | None
    next_command: str | None


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of the snapshot, or why there is none."""

    folder: str | None = None
    refused: Refused | None = None


def main() -> None:
    """Download what the first line of stdin asks for into the Hub library's cache."""
    order = msgspec.json.decode(_first_line(), type=Order)
    die_with_parent()
    sys.stdout.write(msgspec.json.encode(_fetched(order)).decode())
    sys.stdout.flush()
    os._exit(0)  # its threads may still hold connections open


def _first_line() -> bytes:
    """The order; byte by byte past no line, for what comes after it is watched by another thread."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 65536)
        if not chunk:
            os._exit(1)  # the parent ended
        line += chunk
    return line


def _fetched(order: Order) -> Fetched:
    try:
        return Fetched(folder=str(_fetch(order)))
    except FmkitError as error:
        return Fetched(
            refused=Refused(
                exit_code=error.exit_code, message=error.message, where=error.where, next_command=error.next_command
            )
        )


def _fetch(order: Order) -> Path:
    ours = [file for file in order.files if file.digest is not None and file.bytes <= MOST_PLAIN_BYTES]
    pool = ThreadPoolExecutor(PARALLEL)
    for done in as_completed([pool.submit(fetch_into_cache, order.hub_id, order.commit, file) for file in ours]):
        done.result()
    folder = repository_folder(order.hub_id) / "snapshots" / order.commit
    for file in order.files:
        if file not in ours:
            _by_the_library(order, file)
            verify(folder, file.name, file.bytes, file.digest)
    return folder


def _by_the_library(order: Order, file: WantedFile) -> None:
    """A file that the Hub states no digest of, or that is too long for plain HTTP."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # the parent says how far it is
    try:
        hf_hub_download(order.hub_id, file.name, revision=order.commit)
    except errors.GatedRepoError as error:
        raise ModelNotFoundError(
            f"{order.hub_id} is gated: its publisher grants access on request",
            where=order.hub_id,
            next_command="ask at the model's page on the Hub, then set HF_TOKEN",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFoundError(
            f"the Hub shows no model {order.hub_id} at that revision: it does not exist, or needs a token",
            where=order.hub_id,
        ) from error
    except Exception as error:  # the library lets through the errors of whichever HTTP client it uses
        raise NetworkNeededError(
            f"the download of {file.name} broke off ({type(error).__name__}); files that came whole are kept",
            where=order.hub_id,
            next_command="check the network or HF_ENDPOINT and try again: it goes on with the file it stopped at",
        ) from error


if __name__ == "__main__":
    main()
