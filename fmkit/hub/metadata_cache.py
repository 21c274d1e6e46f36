"""What the Hub answered, kept on this disk with its date and commit: used offline, and for a day instead of asking again.

One file per question, written beside its place and moved there in one step: a reader sees the old answer or the new one, two writers
do not mix, and a write that is cut short leaves nothing. What can't be written or read is as if it were not there.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fmkit.hub.files import ModelFiles
from fmkit.whole_files import write_whole

VERSION = 2
"""Of the form of the files; those of another version are not read."""

FRESH_S = 24 * 3600
"""How long an answer about a branch stands without asking again; one about a commit stands for ever."""

_AGES = (("days", 24 * 3600), ("hours", 3600), ("minutes", 60))
_MOST_BYTES = 64 * 1024**2


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: the model's files at `commit`, asked for at `asked_at` (seconds since 1970, UTC); `licence` in the publisher's words."""

    version: int
    endpoint: str
    hub_id: str
    revision: str | None
    commit: str
    asked_at: float
    files: ModelFiles
    licence: str | None = None
    gated: bool = False

    def is_fresh(self, now: float) -> bool:
        """Whether the answer stands without asking again."""
        return self.revision == self.commit or 0 <= now - self.asked_at < FRESH_S


def load(
    folder: Path, endpoint: str, hub_id: str, revision: str | None, label: str | None, *, text_files: bool = False
) -> Kept | None:
    """The answer kept for that question; None if there is none, or it can't be read. `text_files` were asked for, or were not."""
    file = _file(folder, endpoint, hub_id, revision, label, text_files=text_files)
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        found = msgspec.msgpack.decode(file.read_bytes(), type=Kept)
    except (OSError, ValueError, RecursionError):
        return None
    asked = (VERSION, endpoint, revision)
    return found if (found.version, found.endpoint, found.revision) == asked else None


def store(folder: Path, kept: Kept, asked_for: str, label: str | None, *, text_files: bool = False) -> None:
    """Keep an answer to a question about `asked_for`; a folder that can't be written to is no error."""
    file = _file(folder, kept.endpoint, asked_for, kept.revision, label, text_files=text_files)
    with suppress(OSError, OverflowError):  # some config.json have numbers that MessagePack has no room for
        write_whole(file, msgspec.msgpack.encode(kept))


def age(asked_at: float, now: float) -> tuple[str, str]:
    """The date of an answer, and how long ago that was.

    >>> age(1_800_000_000.0, 1_800_000_000.0 + 5 * 24 * 3600)
    ('2027-01-15', '5 days ago')
    """
    age_s = max(0.0, now - asked_at)
    unit, seconds = next((one for one in _AGES if age_s >= 2 * one[1]), _AGES[-1])
    return datetime.fromtimestamp(asked_at, UTC).date().isoformat(), f"{age_s / seconds:.0f} {unit} ago"


def age_note(asked_at: float, now: float) -> str:
    """What to say of an answer that was not asked for now."""
    return f"the Hub was asked on {', '.join(age(asked_at, now))}; what changed since is not known"


def _file(
    folder: Path, endpoint: str, hub_id: str, revision: str | None, label: str | None, *, text_files: bool
) -> Path:
    """One file per question; the name is a digest, for a revision can hold any character."""
    parts = (endpoint, hub_id.casefold(), revision or "", (label or "").casefold(), *(["text"] if text_files else []))
    question = "\n".join(parts)
    return folder / f"{hashlib.sha256(question.encode()).hexdigest()[:40]}.msgpack"
