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


def own_folder() -> Path | None:
    """The user's own catalog: $FMKIT_CATALOG, else fmkit/catalog in the folder for configuration; None where there is none.

    A folder that $FMKIT_CATALOG names is returned whether it is there or not: a name that leads nowhere is a mistake to tell.
    """
    named = os.environ.get("FMKIT_CATALOG")
    if named:
        return Path(named).expanduser()
    try:
        folder = _config_folder() / "fmkit" / "catalog"
    except RuntimeError:  # a user without a home
        return None
    return folder if folder.is_dir() else None


def _config_folder() -> Path:
    xdg = os.environ.get("XDG_CONFIG_HOME")
    if xdg:
        return Path(xdg)
    if sys.platform == "win32":
        roaming = os.environ.get("APPDATA")
        return Path(roaming) if roaming else Path.home() / "AppData" / "Roaming"
    return Path.home() / ".config"


def config_path(file: str) -> Path:
    """A configuration by its name in configs/: the user's own, else the shipped one."""
    own = own_folder()
    ours = None if own is None else own / "configs" / file
    return ours if ours is not None and ours.is_file() else source_folder() / "configs" / file


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


def compiled_file(source: Path, own: Path | None = None) -> Path | None:
    """Where the compiled form of `source` with `own` over it is cached: one file per pair of folders, so that two don't compete.

    None for a user without a home.
    """
    folders = [source] if own is None else [source, own]
    key = zlib.crc32(b"\0".join(os.fsencode(path.resolve()) for path in folders))
    try:
        folder = cache_folder()
    except RuntimeError:
        return None
    return folder / "catalog" / f"{key:08x}.msgpack"


def reader_files() -> list[Path]:
    """The program files that decide what a source file compiles to; a change of any makes a compiled catalog stale."""
    return [Path(name) for name in reader_names()]


def reader_names() -> list[str]:
    """The names of `reader_files`, sorted: a thousand files are listed at every start of a checkout, and a Path takes as long as its listing."""
    folders = [_PACKAGE / "model", _PACKAGE / "catalog"]
    single = [
        "__init__.py",
        "machine.py",
        "selection/abilities.py",
        "selection/capability.py",
        "selection/covariates.py",
        "selection/facts.py",
        "selection/logits.py",
        "selection/score_items.py",
        "selection/small_matrices.py",
        "sizing/engine.py",
        "speed/efficiency.py",
        "speed/estimate.py",
        "speed/parts.py",
        "speed/scopes.py",
    ]
    walked = [os.path.join(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names]  # noqa: PTH118
    found = [name for name in walked if name.endswith(".py")]
    return sorted([*found, *(os.path.join(_PACKAGE, name) for name in single)])  # noqa: PTH118


def source_files(source: Path) -> list[Path]:
    """The catalog's own files in `source`, sorted: VERSION and YAML in it, YAML, CSV and JSON one level down."""
    return [Path(name) for name in source_names(source)]


def source_names(source: Path) -> list[str]:
    """The names of `source_files`, sorted."""
    found: list[str] = []
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                with os.scandir(entry.path) as inside:
                    found += [
                        below.path
                        for below in inside
                        if below.name.endswith((".yaml", ".csv", ".json")) and below.is_file()
                    ]
            elif (entry.name == "VERSION" or entry.name.endswith(".yaml")) and entry.is_file():
                found.append(entry.path)
    return sorted(found)


MOST_OWN_FILES = 2000
"""A folder with more is no catalog of one's own, but a home folder that was named by mistake."""

_DEEPEST = 4


def own_names(own: Path) -> list[str]:
    """The names of all files in a user's own catalog, read or not, sorted: a file that is not read is a fault.

    Hidden files, copies that editors keep and notes about the folder are left out; past `MOST_OWN_FILES` no more is listed.
    """
    found: list[str] = []
    for place, folders, names in os.walk(own, followlinks=True):
        deep = len(Path(place).relative_to(own).parts)
        folders[:] = [] if deep >= _DEEPEST else sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(place, name) for name in names if not _beside(name)]  # noqa: PTH118
        if len(found) > MOST_OWN_FILES:
            break
    return sorted(found)


def _beside(name: str) -> bool:
    stem, _, suffix = name.upper().partition(".")
    notes = stem in {"README", "NOTICE", "LICENSE", "LICENCE", "CHANGELOG"} and suffix in {"", "MD", "TXT"}
    return name.startswith((".", "#")) or name.endswith("~") or notes
