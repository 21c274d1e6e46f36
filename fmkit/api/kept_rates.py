"""What `fmkit hardware measure` found on this machine, for every estimate made on it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fmkit.errors import FmkitError, UnreadRatesWarning
from fmkit.trial.paths import data_folder

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import MachineRates


def kept_here(machine: Machine) -> MachineRates | None:
    """What was measured on this machine and kept; None for another machine, or where nothing (readable) is kept.

    A file that can't be read costs accuracy, no answer: an UnreadRatesWarning says so, once.
    """
    if machine.origin != "detected":
        return None
    try:
        folder = data_folder()
    except RuntimeError:  # no home, nothing kept
        return None
    return _read_once(folder, machine)


_READ: dict[tuple[Path, str, int], MachineRates | None] = {}
"""What the file said, by folder and machine: a search asks for it hundreds of times."""


def _read_once(folder: Path, machine: Machine) -> MachineRates | None:
    from fmkit.hardware.kept import kept_rates  # noqa: PLC0415  a file that only estimates for this machine need

    place = (folder, machine.name, machine.count)
    if place not in _READ:
        _READ[place] = None
        try:
            _READ[place] = kept_rates(folder, machine)
        except FmkitError as error:
            warnings.warn(UnreadRatesWarning(error.message, error.where, error.next_command), stacklevel=2)
    return _READ[place]


def forget_read() -> None:
    """Read the file again next time: new rates were kept."""
    _READ.clear()
