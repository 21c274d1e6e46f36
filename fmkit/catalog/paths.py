"""Where the catalog's files are, and where its compiled form is kept."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

COMPILED_NAME = "catalog.msgpack"

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_folder() -> Path:
    """The catalog inside an installed package: sources and compiled file; absent in a checkout."""
    return _PACKAGE / "_catalog"


def source_folder() -> Path:
    """The catalog's source files: inside an installed package, else beside the package in a checkout."""
    packaged = packaged_folder()
    return packaged if packaged.is_dir() else _PACKAGE.parent / "catalog"


def cache_folder() -> Path:
    """The user's folder for what can be made again: $FMKIT_CACHE_DIR, else the platform's custom."""
    named = os.environ.get("FMKIT_CACHE_DIR")
    if named:
        return Path(named)
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg:
        return Path(xdg) / "fmkit"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "fmkit" / "cache" if local else Path.home() / "AppData" / "Local" / "fmkit" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fmkit"
    return Path.home() / ".cache" / "fmkit"


def compiled_file(source: Path) -> Path | None:
    """Where the compiled form of `source` is cached: one file per source folder, so that two checkouts don't compete.

    None for a user without a home.
    """
    key = zlib.crc32(os.fsencode(source.resolve()))
    try:
        folder = cache_folder()
    except RuntimeError:
        return None
    return folder / "catalog" / f"{key:08x}.msgpack"


def reader_files() -> list[Path]:
    """The program files that decide what a source file compiles to; a change of any makes a compiled catalog stale."""
    folders = [_PACKAGE / "model", _PACKAGE / "catalog"]
    single = [
        "__init__.py",
        "machine.py",
        "selection/facts.py",
        "sizing/engine.py",
        "speed/efficiency.py",
        "speed/estimate.py",
    ]
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted([*found, *(_PACKAGE / name for name in single)])


def source_files(source: Path) -> list[Path]:
    """The catalog's own files in `source`, sorted."""
    patterns = ("VERSION", "*.yaml", "*/*.yaml", "*/*.csv", "*/*.json")
    return sorted(path for pattern in patterns for path in source.glob(pattern))
