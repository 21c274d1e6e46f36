"""The files of a user's own catalog: which of them are read, and what is wrong with the others.

A file that nothing reads is a typing mistake, and told with the name that it should have.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault
from fmkit.catalog.paths import MOST_OWN_FILES, own_names

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = {
    "families": ".yaml",
    "api": ".yaml",
    "hardware": ".yaml",
    "engines": ".yaml",
    "configs": ".json",
    "scores": ".csv",
}
"""Folders whose files are read, by the end of their names."""

FILES = (
    "VERSION",
    "licences.yaml",
    "tasks.yaml",
    "precisions.yaml",
    "prices/cloud.csv",
    "quality/loss.csv",
    "configs/INDEX.csv",
)

_SPELT = {"licenses": "licences.yaml", "prices": "prices/cloud.csv", "quality": "quality/loss.csv"}
"""Files that have one name, by a word that theirs has."""


def unread(folder: Path) -> Iterator[Fault]:
    """A fault for each file of `folder` that nothing reads; hidden files, an editor's copies and notes such as README.md are let be."""
    paths = [Path(name) for name in own_names(folder)]
    if len(paths) > MOST_OWN_FILES:
        yield Fault(".", "$", f"more than {MOST_OWN_FILES:,} files: name the folder of a catalog, not one above it")
        return
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            yield Fault(name, "$", "is not read, for it is no regular file: put a file with the text itself there")
        elif not is_read(name):
            yield Fault(name, "$", _what_to_do(name))


def is_read(name: str) -> bool:
    """Whether a file of that name, from the folder of the catalog on, is one of a catalog.

    >>> is_read("families/house.yaml"), is_read("families/house.yml"), is_read("families/sub/house.yaml")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return name in FILES or (len(path.parts) == 2 and FOLDERS.get(path.parts[0]) == path.suffix)


def _what_to_do(name: str) -> str:
    meant = wanted(name)
    if meant is not None:
        return f"is not read: name it {meant}"
    return f"is no file of a catalog of one's own; known: {', '.join(FILES)}, {', '.join(f'{place}/' for place in FOLDERS)}"


def wanted(name: str) -> str | None:
    """The name that a file which is not read should have; None where nothing tells.

    >>> wanted("families/sub/house.yml"), wanted("scores/mmlu.tsv"), wanted("licenses.yaml"), wanted("data/notes.csv")
    ('families/house.yaml', 'scores/mmlu.csv', 'licences.yaml', None)
    """
    path = PurePosixPath(name)
    top = path.parts[0].lower()
    if top in FOLDERS and len(path.parts) > 1:
        return f"{top}/{path.stem}{FOLDERS[top]}"
    of_stem = {PurePosixPath(file).stem.lower(): file for file in FILES if "/" not in file}
    return _SPELT.get(PurePosixPath(top).stem.lower()) or of_stem.get(path.stem.lower())
