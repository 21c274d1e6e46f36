"""The rates measured on this machine, kept in one JSON file of the user: one entry per machine that shares the folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.machine import Machine
from fmkit.speed.rates import MachineRates
from fmkit.whole_files import write_whole

FILE_NAME = "hardware-rates.json"
MOST_BYTES = 4 * 2**20


class RatesFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds; `machines` by `machine_key`."""

    schema: str = "fmkit.hardware-rates/1"
    machines: dict[str, MachineRates] = {}


def machine_key(machine: Machine) -> str:
    """What tells machines that share a folder apart: device, how many, and the cores that this process may use."""
    device = machine.device.name if machine.device is not None else machine.name
    return f"{machine.count} x {device}, {machine.cpu_cores or '?'} cores"


def kept_rates(folder: Path, machine: Machine) -> MachineRates | None:
    """What was measured on this machine; None if nothing was. UnsafeInputError for a file that is damaged."""
    return _read(folder / FILE_NAME).machines.get(machine_key(machine))


def keep_rates(folder: Path, machine: Machine, rates: MachineRates) -> Path:
    """Keep the rates of this machine in place of earlier ones; other machines' entries stay. Returns the file."""
    path = folder / FILE_NAME
    machines = {**_read(path).machines, machine_key(machine): rates}
    write_whole(path, msgspec.json.format(msgspec.json.encode(RatesFile(machines=machines)), indent=1))
    return path


def _read(path: Path) -> RatesFile:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return RatesFile()
    except OSError as error:
        raise UnsafeInputError(f"the measured rates can't be read: {error.strerror}", where=str(path)) from error
    try:
        if len(content) > MOST_BYTES:
            raise msgspec.ValidationError("it is larger than any such file")
        return msgspec.json.decode(content, type=RatesFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnsafeInputError(
            f"the measured rates can't be read: {error}", where=str(path), next_command=f"rm {path}"
        ) from error
