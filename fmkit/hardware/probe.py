"""What every probe gives, and how it asks: a vendor's tool with a deadline, or a file of the system."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

TOOL_DEADLINE_S = 5.0

PLATFORM: str = sys.platform
"""The system's name, kept from the type checker, which would take every other system's branch for dead."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator as its tool or driver describes it; None is what it does not say."""

    name: str
    vendor: str
    memory_bytes: int | None
    free_bytes: int | None = None
    unified_memory: bool = False
    driver: str | None = None


def run_tool(*command: str) -> str | None:
    """What a tool prints; None when it is not there, fails, or does not answer in time."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  a fixed command line, found on PATH, without a shell
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=TOOL_DEADLINE_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def read_text(path: Path) -> str | None:
    """The stripped text of a system file; None when it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def whole(text: str | None) -> int | None:
    """The whole number a tool or file gives; None for `[N/A]`, `max` and the like.

    >>> whole("24564"), whole(" [N/A] "), whole(None)
    (24564, None, None)
    """
    stripped = (text or "").strip()
    return int(stripped) if stripped.isascii() and stripped.isdigit() else None
