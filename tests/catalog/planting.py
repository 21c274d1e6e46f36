"""Faults planted in a copy of the catalog: what each must be told as."""

from __future__ import annotations

from collections.abc import Callable

from fmkit.catalog.faults import Fault

Plant = Callable[[str, str, str], list[Fault]]
"""Puts a text in the place of another in a file of a copied catalog (deletes the file for no text), and gives what `check` finds."""

Planted = tuple[str, str, str, str | None, str, str]
"""A file, a text in it, what takes its place; then the file of the fault (None: the same), a part of its path, and of its message."""


def found_where_planted(planted: Planted, plant: Plant) -> None:
    """The fault is among those that are found: in its file, at its place (in YAML with the line), with what was expected."""
    file, old, new, fault_file, path, message = planted
    found = plant(file, old, new)
    meant = [
        fault
        for fault in found
        if fault.file == (fault_file or file) and path in fault.path and message in fault.message
    ]
    assert meant, [str(fault) for fault in found]
    assert all(fault.line or fault.path.startswith("line ") for fault in meant if fault.file.endswith(".yaml"))
