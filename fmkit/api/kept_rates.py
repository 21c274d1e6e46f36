"""What `fmkit hardware measure` found on this machine, for every estimate made on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmkit.errors import FmkitError
from fmkit.trial.paths import data_folder

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import MachineRates


def kept_here(machine: Machine) -> MachineRates | None:
    """What was measured on this machine and kept; None for another machine, or where nothing (readable) is kept."""
    if machine.origin != "detected":
        return None
    try:
        return _read_once(data_folder(), machine)
    except (FmkitError, RuntimeError):  # a damaged file costs accuracy, no answer; no home, nothing kept
        return None


_READ: dict[tuple[Path, str, int], MachineRates | None] = {}
"""What the file said, by folder and machine: a search asks for it hundreds of times."""


def _read_once(folder: Path, machine: Machine) -> MachineRates | None:
    from fmkit.hardware.kept import kept_rates  # noqa: PLC0415  a file that only estimates for this machine need

    place = (folder, machine.name, machine.count)
    if place not in _READ:
        _READ[place] = kept_rates(folder, machine)
    return _READ[place]


def forget_read() -> None:
    """Read the file again next time: new rates were kept."""
    _READ.clear()
