"""One file of a repository into the Hub library's cache: it goes on where an earlier run stopped, and is in its place whole and verified.

What came is kept beside the place under the digest that the Hub states, so that a file that changed since begins anew. The digest also
decides whether what was kept, and what came after it, belong together.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from fmkit.errors import NetworkNeededError, UnsafeInputError
from fmkit.hub.answer import Answer
from fmkit.hub.cache import repository_folder
from fmkit.hub.client import REFUSED, RETRIED
from fmkit.hub.connection import ConnectionLostError, Opened, endpoint, has_token, opened
from fmkit.hub.part_file import PartFile, writing_to
from fmkit.hub.refusals import refusal
from fmkit.hub.repository import Digest
from fmkit.hub.unfinished import lock_of, part_of
from fmkit.hub.verifying import differs, digest_of, hasher_for

MOST_TRIES = 6
"""Without a byte in between."""

MOST_RESTARTS = 3
"""From the first byte, where the server sends no parts of files."""

LONGEST_WAIT_S = 60.0
"""For which a 429 is obeyed: the process that downloads can't say that it waits."""

STALLED_S = 60.0
STALLED_BYTES = 64 * 1024
"""Less than this in so long is no download: each byte of a trickle meets the time limit of a read."""

_BACKOFF_S = 0.2


class WantedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file to fetch, as the Hub states it."""

    name: str
    bytes: int
    digest: Digest | None


def fetch_into_cache(hub_id: str, commit: str, file: WantedFile) -> None:
    """Bring a file with a known digest into the snapshot of that commit; fetches what of it is not on this disk.

    Raises NetworkNeededError where the download breaks off (what came is kept) or something else answers in the Hub's place, UnsafeInputError where
    an answer is not the file, or the whole is not what the Hub stated (that is removed), UsageError where the disk takes no more, and the Hub's refusals.
    """
    from huggingface_hub.utils import WeakFileLock  # 130 ms

    assert file.digest is not None
    folder = repository_folder(hub_id)
    blob, lock = folder / "blobs" / file.digest.value, lock_of(hub_id, file.digest.value)
    with writing_to(folder):
        for needed in (blob.parent, lock.parent, (folder / "snapshots" / commit / file.name).parent):
            needed.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # the library's own, so that it waits for us and we for it
        if not _is_whole(blob, file):
            part = part_of(hub_id, file.digest.value)
            _complete(part, hub_id, commit, file)
            with writing_to(blob):
                part.replace(blob)
        with writing_to(folder):
            _link(folder / "snapshots" / commit / file.name, blob, file.bytes)


def _is_whole(blob: Path, file: WantedFile) -> bool:
    assert file.digest is not None
    known = blob.is_file() and blob.stat().st_size == file.bytes
    return known and digest_of(blob, file.digest.kind) == file.digest.value


def _link(place: Path, blob: Path, size: int) -> None:
    """Put the file into its snapshot: a relative link, as the library makes it, or itself where there are no links."""
    if place.is_file() and place.stat().st_size == size:
        return
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        blob.replace(place)


def _complete(part: Path, hub_id: str, commit: str, file: WantedFile) -> None:
    """Fetch what is missing of the part. Where the whole is not what was stated, what an earlier run left is given up once."""
    while True:
        with closing(PartFile(part)) as kept:
            transfer = _Transfer(kept, hub_id, commit, file)
            right = transfer.run()
        if right:
            return
        part.unlink(missing_ok=True)
        if not transfer.resumed:
            assert file.digest is not None
            raise UnsafeInputError(
                f"{differs(file.name, file.digest)}; it was removed",
                where=hub_id,
                next_command="try again; if it happens again, check HF_ENDPOINT and the disk",
            )


class _Transfer:
    """One file on its way: what came is written and added to the digest at once."""

    def __init__(self, part: PartFile, hub_id: str, commit: str, file: WantedFile) -> None:
        self._part, self._file, self._hub_id, self._commit = part, file, hub_id, commit
        self._path = f"/{hub_id}/resolve/{commit}/{quote(file.name)}"
        self._where = f"{hub_id}@{commit[:12]}/{file.name}"
        self._token = False
        self._ranges = True
        self._restarts = 0
        self._begin()

    def _begin(self) -> None:
        """Start from nothing."""
        assert self._file.digest is not None
        self.at = 0
        self._hasher = hasher_for(self._file.digest.kind, self._file.bytes)
        self._window = (time.monotonic(), 0)
        self.resumed = False

    def run(self) -> bool:
        """Fetch the file to its end; whether its digest is the one stated."""
        self._take_over()
        tries = 0
        while self.at < self._file.bytes:
            before = self.at
            try:
                self._ask()
            except ConnectionLostError as error:
                tries = 1 if self.at > before else tries + 1
                if tries >= MOST_TRIES:
                    raise self._broken_off(str(error)) from error
                time.sleep(_BACKOFF_S * 2 ** (tries - 1))
        assert self._file.digest is not None
        return self._hasher.hexdigest() == self._file.digest.value

    def _take_over(self) -> None:
        """Go on with what an earlier run left."""
        for chunk in self._part.chunks():
            self._hasher.update(chunk)
            self.at += len(chunk)
        self._window = (time.monotonic(), self.at)
        self.resumed = self.at > 0
        if self.at > self._file.bytes:
            self._part.clear()
            self._begin()

    def _start_over(self) -> None:
        """From the first byte; the part keeps what came until more has come again."""
        self._restarts += 1
        if self._restarts > MOST_RESTARTS:
            raise self._broken_off("the server sends no parts of files, and the connection does not hold")
        self._part.start_over()
        self._begin()

    def _ask(self) -> None:
        """One request for what is missing; without progress where the next has to be another."""
        if self.at and not self._ranges:
            self._start_over()
        asked = f"bytes={self.at}-" if self.at else None
        with opened(endpoint(), self._path, where=self._where, token=self._token, asked_range=asked) as found:
            answer = found.answer
            if asked is not None and (answer.status == 416 or (answer.status == 206 and answer.first_byte != self.at)):
                self._ranges = False
            elif answer.status in REFUSED and not self._token and has_token():
                self._token = True
            elif answer.status == 200 or (answer.status == 206 and asked is not None):
                self._check(found)
                if answer.status == 200 and self.at:
                    self._start_over()
                self._receive(found)
            else:
                self._refuse(answer)

    def _refuse(self, answer: Answer) -> None:
        """An answer without content: waited for where that helps."""
        wait = answer.wait_s or 0.0
        if answer.status not in RETRIED or wait > LONGEST_WAIT_S:
            raise refusal(answer, self._hub_id, self._commit, self._where)
        time.sleep(wait)
        raise ConnectionLostError(f"the Hub answers with status {answer.status}")

    def _check(self, found: Opened) -> None:
        """Refuse what is not the file, before anything is given up for it."""
        kind = found.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html" and not self._file.name.endswith(".html"):
            raise self._broken_off("a web page came in its place: a login page or a proxy answers for the Hub")
        encoding = found.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise UnsafeInputError(
                f"the Hub sends {encoding[:20]!r} where the bytes themselves were asked for", where=self._where
            )
        whole = found.headers.get("content-length") if found.answer.status == 200 else found.answer.total_bytes
        if whole is not None and str(whole) != str(self._file.bytes):
            raise self._other_size()

    def _receive(self, found: Opened) -> None:
        for chunk in found.response.iter_raw():
            if self.at + len(chunk) > self._file.bytes:
                raise self._other_size()
            self._part.write(chunk)
            self._hasher.update(chunk)
            self.at += len(chunk)
            self._check_pace()
        if self.at < self._file.bytes:
            raise ConnectionLostError("the answer ended early")

    def _check_pace(self) -> None:
        """Give up where next to nothing comes."""
        since, at = self._window
        now = time.monotonic()
        if now - since < STALLED_S:
            return
        if self.at - at < STALLED_BYTES:
            raise self._broken_off(f"less than {STALLED_BYTES // 1024} KiB came in {STALLED_S:.0f} s")
        self._window = (now, self.at)

    def _other_size(self) -> UnsafeInputError:
        return UnsafeInputError(
            f"{self._file.name} is longer or shorter than the {self._file.bytes:,} bytes that the Hub stated",
            where=self._where,
            next_command="check the network or HF_ENDPOINT and try again",
        )

    def _broken_off(self, what: str) -> NetworkNeededError:
        kept, goes_on = ("; what came is kept", ": it goes on where it stopped") if self._part.kept_bytes else ("", "")
        return NetworkNeededError(
            f"the download of {self._file.name} broke off ({what[:200]}){kept}",
            where=self._hub_id,
            next_command=f"check the network or HF_ENDPOINT and try again{goes_on}",
        )
