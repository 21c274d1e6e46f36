"""What a long phase says of its progress: a line on stderr, which the parent passes on. No torch."""

from __future__ import annotations

import sys

NOTE_MARK = "fmkit-note:"
"""Begins a line on stderr that tells how far a phase is."""


def say(text: str) -> None:
    """Tell the parent."""
    print(f"{NOTE_MARK}{text}", file=sys.stderr, flush=True)  # noqa: T201  the protocol with the parent
