"""The process that downloads: `python -m fmkit.hub.fetching HUB_ID COMMIT FILES`, FILES a JSON list of names.

The Hub library downloads in threads that nothing can stop before their files are whole; a process can be ended. It prints a Fetched as
JSON at its end.
"""

from __future__ import annotations

import os
import sys
from typing import Literal

import msgspec

from fmkit.subprocesses import die_with_parent


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of the snapshot, or what kind of error there was, with the name of its class."""

    folder: str | None = None
    error: Literal["gated", "missing", "broken-off"] | None = None
    name: str = ""


def main(arguments: list[str]) -> int:
    """Download the files of the pinned commit into the Hub library's cache."""
    die_with_parent()
    hub_id, commit, names = arguments
    found = _fetch(hub_id, commit, msgspec.json.decode(names, type=list[str]))
    sys.stdout.write(msgspec.json.encode(found).decode())
    sys.stdout.flush()
    os._exit(0)  # its threads may still hold connections open


def _fetch(hub_id: str, commit: str, names: list[str]) -> Fetched:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # the parent says how far it is
    try:
        return Fetched(folder=snapshot_download(hub_id, revision=commit, allow_patterns=names))
    except errors.GatedRepoError as error:
        return Fetched(error="gated", name=type(error).__name__)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        return Fetched(error="missing", name=type(error).__name__)
    except Exception as error:  # noqa: BLE001  the library lets through the errors of whichever HTTP client it uses
        return Fetched(error="broken-off", name=type(error).__name__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
