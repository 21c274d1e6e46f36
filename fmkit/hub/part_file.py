"""What came of a file, beside its place: added to, and never lost to an answer that is worth less."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmkit.errors import UsageError

_CHUNK_BYTES = 1024**2


class PartFile:
    """The part of one file, open. A restart is written beside it, and takes its place as it outgrows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing_to(path):
            self._stream = _opened(path)
            self._kept_bytes = os.fstat(self._stream.fileno()).st_size
        self._restart: io.FileIO | None = None
        self._restart_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """What the next run can go on with."""
        return self._kept_bytes

    @property
    def _restart_path(self) -> Path:
        return self.path.with_name(f"{self.path.name.removesuffix('.incomplete')}.restart.incomplete")

    def chunks(self) -> Iterator[bytes]:
        """What an earlier run left; afterwards writing goes on behind it."""
        with writing_to(self.path):
            while chunk := self._stream.read(_CHUNK_BYTES):
                yield chunk

    def write(self, chunk: bytes) -> None:
        """Add to what came."""
        with writing_to(self.path):
            if self._restart is None:
                write_all(self._stream, chunk)
                self._kept_bytes += len(chunk)
                return
            write_all(self._restart, chunk)
            self._restart_bytes += len(chunk)
            if self._restart_bytes > self._kept_bytes:
                self._take_restart()

    def start_over(self) -> None:
        """From the first byte; what came stays until more has come again."""
        self._end_restart()
        with writing_to(self._restart_path):
            self._restart = _opened(self._restart_path)
            self._restart.truncate()
        self._restart_bytes = 0

    def clear(self) -> None:
        """Give up what came: it is known to be of no use."""
        self._end_restart()
        with writing_to(self.path):
            self._stream.seek(0)
            self._stream.truncate()
        self._kept_bytes = 0

    def close(self) -> None:
        """Without an empty part, and without a restart that is shorter than what it was to replace."""
        self._end_restart()
        self._stream.close()
        if self._kept_bytes == 0:
            self.path.unlink(missing_ok=True)

    def _take_restart(self) -> None:
        assert self._restart is not None
        for stream in (self._restart, self._stream):  # an open file can't be replaced everywhere
            stream.close()
        self._restart_path.replace(self.path)
        self._stream, self._restart = _opened(self.path), None
        self._stream.seek(0, os.SEEK_END)
        self._kept_bytes = self._restart_bytes

    def _end_restart(self) -> None:
        if self._restart is not None:
            self._restart.close()
            self._restart = None
            self._restart_path.unlink(missing_ok=True)


def write_all(stream: io.FileIO, chunk: bytes) -> None:
    """Every byte: one call may write fewer."""
    left = memoryview(chunk)
    while left:
        left = left[stream.write(left) :]


def _opened(path: Path) -> io.FileIO:
    """The file, made if it is not there; never through a link."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return io.FileIO(os.open(path, flags, 0o666), "r+")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Errors of the disk as ours, before anybody takes them for errors of the network."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"can't write to the Hub's cache: {error.strerror or error}; what came is kept",
            where=str(path),
            next_command="free some space, or set HF_HOME to a folder that can be written to",
        ) from error
