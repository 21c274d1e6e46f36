"""Processes that fmkit starts: they end when fmkit does, however that happens. Nothing but the standard library."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when the thread that started it ends."""


def die_with_parent() -> None:
    """End this process when its parent ends.

    On Linux the kernel kills it. Everywhere stdin, whose other end the parent holds, is watched as well: that works where the kernel
    offers nothing, but only while Python gets to run.
    """
    threading.Thread(target=_watch_stdin, daemon=True).start()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_stdin() -> None:
    """Wait until the parent's end of stdin closes, then leave without ceremony."""
    while os.read(0, 1024):
        pass
    os._exit(1)
