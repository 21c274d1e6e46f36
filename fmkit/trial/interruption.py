"""Signals that end fmkit while a trial runs: they arrive as Ctrl-C does, so that nothing is left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")
"""Signals that end a program at once where it does nothing about them: no folder removed, no child ended."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal to end arrive as Ctrl-C does, as KeyboardInterrupt: the block cleans up, and the program ends.

    A signal that someone ignores (nohup) or handles stays theirs; outside of the main thread nothing is changed.
    """
    kept = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        kept = {number: signal.signal(number, _interrupt) for number in numbers if _is_default(number)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _is_default(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_DFL


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
