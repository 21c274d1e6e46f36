"""The folder of a running trial. All that the trial writes beside its record lies there and goes with it.

A program that is killed removes nothing: its folder stays, with a mark in it that says what was running. The mark is locked for as long
as its program lives, and the kernel gives the lock back however that ends, so that the next run knows a folder that nobody uses from
one in use.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from fmkit.units import format_bytes

if sys.platform != "win32":
    import fcntl

PREFIX = "fmkit-trial-"
MARK = "running.json"
DOING = "doing"
MOST_MARK_BYTES = 64 * 1024

MOST_TOLD = 3
UNMARKED_S = 3600.0
"""A folder without a mark is being made just now, or its program died in the moment between: after this long it did."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What the mark says: the model, when its trial was started (ISO 8601, with the zone), and the file it writes answers to."""

    model: str
    started: str
    answers: str | None = None


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that did not end, whose folder of `folder_bytes` was removed; `doing` is what it did last, as far as it is known.

    `has_answers` says that the file for its answers is there, and not empty.
    """

    running: Running | None
    doing: str
    folder_bytes: int
    has_answers: bool = False

    def told(self) -> str:
        """What happened, in one sentence.

        >>> one = Running(model="gpt2", started="2026-11-28T12:03:59+01:00")
        >>> Leftover(running=one, doing="loading the model", folder_bytes=1288490188).told()
        'the last trial of gpt2, started 2026-11-28 12:03, did not end (it was loading the model): nothing of it was kept, and its temporary folder of 1.20 GiB was removed'
        """
        removed = f"temporary folder of {format_bytes(self.folder_bytes)} was removed"
        if self.running is None:
            return f"an earlier trial did not end: its {removed}"
        when = self.running.started[:16].replace("T", " ")
        doing = f" (it was {self.doing})" if self.doing else ""
        kept = "nothing of it was kept"
        if self.has_answers:
            kept = f"its answers so far are in {self.running.answers}, to which the same command adds the others"
        return f"the last trial of {self.running.model}, started {when}, did not end{doing}: {kept}, and its {removed}"


class Workplace:
    """A folder in use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self, doing: str) -> None:
        """Note what is being done, for whoever finds the folder."""
        with suppress(OSError):  # a full disk is told by what needs it
            (self.path / DOING).write_text(doing, encoding="utf-8")


@contextmanager
def workplace(model: str, answers: str | None = None) -> Iterator[Workplace]:
    """A folder for a trial of `model` that writes answers to the file of that name, gone when the block ends."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        path = Path(name)
        with (path / MARK).open("xb") as mark:
            _lock(mark)
            mark.write(msgspec.json.encode(Running(model=model, started=started, answers=answers)))
            mark.flush()
            yield Workplace(path)


def remove_leftovers() -> list[Leftover]:
    """Remove the folders of trials whose program died, of this user only; what they were, the newest first."""
    paths = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), key=_changed, reverse=True)
    found = [_remove(path) for path in paths]
    return [one for one in found if one is not None]


def told(leftovers: Sequence[Leftover]) -> list[str]:
    """What happened to the trials that did not end: a sentence for the newest ones, and one for all others."""
    rest = leftovers[MOST_TOLD:]
    lines = [one.told() for one in leftovers[:MOST_TOLD]]
    if rest:
        total = format_bytes(sum(one.folder_bytes for one in rest))
        lines.append(f"{len(rest)} more trials before that did not end: temporary folders of {total} were removed")
    return lines


def _remove(path: Path) -> Leftover | None:
    """Remove one folder if nobody uses it any more."""
    try:
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or (hasattr(os, "getuid") and facts.st_uid != os.getuid()):
            return None
        with (path / MARK).open("r+b") as mark:
            if not _lock(mark):
                return None
            said = mark.read(MOST_MARK_BYTES)
    except FileNotFoundError:
        if time.time() - _changed(path) < UNMARKED_S:
            return None
        said = b""
    except OSError:
        return None
    running = _running(said)
    left = Leftover(
        running=running, doing=_doing(path), folder_bytes=folder_bytes(path), has_answers=_has_answers(running)
    )
    shutil.rmtree(path, ignore_errors=True)
    return left


def _lock(mark: IO[bytes]) -> bool:
    """Lock the mark until it is closed; False where another program holds it."""
    if sys.platform == "win32":  # pragma: no cover
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(mark.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _running(said: bytes) -> Running | None:
    """What a mark says; None for one that was not written to its end."""
    try:
        return msgspec.json.decode(said, type=Running)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _has_answers(running: Running | None) -> bool:
    if running is None or running.answers is None:
        return False
    try:
        facts = Path(running.answers).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size > 0


def _doing(path: Path) -> str:
    try:
        return (path / DOING).read_bytes()[:200].decode(errors="replace")
    except OSError:
        return ""


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return time.time()


def folder_bytes(path: Path) -> int:
    """Bytes of the files below a folder, links not followed; what vanishes meanwhile does not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total
