"""Where the user's own measurements and trials are kept."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path


def data_folder() -> Path:
    """The user's folder for what can't be made again: $FMKIT_DATA_DIR, else the platform's custom. RuntimeError without a home."""
    return _data_folder(*(os.environ.get(name) for name in ("FMKIT_DATA_DIR", "XDG_DATA_HOME", "LOCALAPPDATA", "HOME")))


@lru_cache(maxsize=8)
def _data_folder(named: str | None, xdg: str | None, local: str | None, _home: str | None) -> Path:
    """As the environment says; a search over models asks thousands of times."""
    if named:
        return Path(named)
    if xdg:
        return Path(xdg) / "fmkit"
    if sys.platform == "win32":
        return Path(local or Path.home() / "AppData" / "Local") / "fmkit" / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "fmkit"
    return Path.home() / ".local" / "share" / "fmkit"


def record_file() -> Path:
    """The record of trials."""
    return data_folder() / "trials.sqlite3"
