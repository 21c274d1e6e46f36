"""What llama.cpp says while it loads: caught where it writes it, the stderr of this process, and read for buffers and errors."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import msgspec

from fmkit.errors import TrialFailedError, UnsafeInputError
from fmkit.sizing.logs import llama_cpp
from fmkit.sizing.logs.log import lines_of

LAST_BUFFER = "compute buffer size"
"""In the line of the buffer that is allocated last."""

LAST_WORDS = "exiting due to model loading error"
"""What the server says last when it can't start."""

LOG_WAIT_S = 10.0
"""llama.cpp's log is written by a thread of its own, which may be behind."""

STDERR = 2

_NO_MEMORY = re.compile(r"failed to allocate|insufficient memory|unable to allocate|out of memory", re.IGNORECASE)
_REASON = re.compile(r"error loading model: (.+)")
_UNKNOWN_ARCHITECTURE = re.compile(r"unknown model architecture: (\S+)")
_ERROR_LINE = re.compile(r"^\S+ E \s*(.+)")
_THREADS = re.compile(r"system_info: n_threads = (\d+)")


class LoggedBuffers(msgspec.Struct, frozen=True, kw_only=True):
    """The buffers that llama.cpp allocated, on the device where it has one, else in main memory; as printed, to 0.01 MiB.

    `compute_bytes` includes the buffer of the outputs where it lies in the same memory.
    """

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


class CapturedLog:
    """The file that stderr goes to for a while."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def text(self) -> str:
        """Everything written so far."""
        return os.pread(self._stream.fileno(), os.fstat(self._stream.fileno()).st_size, 0).decode(errors="replace")

    def text_with(self, words: str) -> str:
        """As `text`, once `words` are in it; whatever there is when they don't come."""
        until = time.monotonic() + LOG_WAIT_S
        while words not in (text := self.text()) and time.monotonic() < until:
            time.sleep(0.02)
        return text


@contextmanager
def captured_log() -> Iterator[CapturedLog]:
    """Send this process's stderr, also that of C++, to a file until the block ends. A file never makes the writer wait, as a pipe can."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        with tempfile.TemporaryFile() as stream:
            os.dup2(stream.fileno(), STDERR)
            try:
                yield CapturedLog(stream)
            finally:
                os.dup2(kept, STDERR)
    finally:
        os.close(kept)


def logged_buffers(text: str, *, on_host: bool, layers: int | None = None) -> LoggedBuffers:
    """The buffers that a whole log lists: of the devices, which have so many `layers`, or, with `on_host`, of main memory.

    Raises TrialFailedError where the log has no line for weights or compute buffers: nothing was measured then. A device that was given
    no layers has no weights.
    """
    log = llama_cpp.read(lines_of(text))

    def bytes_of(*parts: str) -> int:
        return sum(
            each.bytes for each in log.figures if each.part in parts and llama_cpp.is_host(each.device) == on_host
        )

    found = LoggedBuffers(
        weights_bytes=bytes_of("weights"),
        cache_bytes=bytes_of("cache", "state"),
        compute_bytes=bytes_of("activations", "outputs"),
    )
    if not found.compute_bytes or (not found.weights_bytes and layers != 0):
        where = "in main memory" if on_host else "on the device"
        raise TrialFailedError(f"llama.cpp printed no buffers {where}: its memory can't be measured")
    return found


def host_weight_bytes(text: str) -> int:
    """Weights that a whole log lists in main memory."""
    figures = llama_cpp.read(lines_of(text)).figures
    return sum(each.bytes for each in figures if each.part == "weights" and llama_cpp.is_host(each.device))


def threads_in(text: str) -> int | None:
    """How many threads the log says it computes with."""
    found = _THREADS.search(text)
    return None if found is None else int(found[1])


def load_error(text: str) -> Exception:
    """The error that a log of a failed load tells of: out of memory, a broken file, an architecture not known, or its last error.

    >>> load_error("0.1 E llama_model_load: error loading model: tensor 'x' not found")
    UnsafeInputError("llama.cpp can't load the file: tensor 'x' not found")
    """
    lines = lines_of(text)
    for line in lines:
        if _NO_MEMORY.search(line):
            return MemoryError(_said(line))
    reason = next((found[1] for line in lines if (found := _REASON.search(line))), None)
    if reason is None:
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return TrialFailedError(f"llama.cpp did not start: {_said(errors[0]) if errors else 'it does not say why'}")
    unknown = _UNKNOWN_ARCHITECTURE.search(reason)
    if unknown:
        return TrialFailedError(
            f"this llama.cpp does not know the architecture {unknown[1]}", next_command="pip install -U xllamacpp"
        )
    return UnsafeInputError(f"llama.cpp can't load the file: {reason[:300]}")


def _said(line: str) -> str:
    """A line without its time and level."""
    found = _ERROR_LINE.match(line)
    return (found[1] if found else line)[:300]
