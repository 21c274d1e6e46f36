"""Where the user's own measurements and trials are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """The user's folder for what can't be made again: $FMKIT_DATA_DIR, else the platform's custom."""
    named = os.environ.get("FMKIT_DATA_DIR")
    if named:
        return Path(named)
    xdg = os.environ.get("XDG_DATA_HOME")
    if xdg:
        return Path(xdg) / "fmkit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fmkit" / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "fmkit"
    return Path.home() / ".local" / "share" / "fmkit"


def record_file() -> Path:
    """The record of trials."""
    return data_folder() / "trials.sqlite3"
