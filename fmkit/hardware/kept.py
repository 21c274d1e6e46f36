"""The rates measured on this machine, kept in one JSON file of the user: one entry per machine that shares the folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from fmkit.errors import UnsafeInputError
from fmkit.machine import Machine
from fmkit.speed.rates import CallPoint, LlamaCppRates, MachineRates, ModelPoint, RatePoint, TorchRates
from fmkit.whole_files import write_whole

Part = TypeVar("Part", TorchRates, LlamaCppRates)
Point = TypeVar("Point", bound=RatePoint)

FILE_NAME = "hardware-rates.json"
MOST_BYTES = 4 * 2**20

SCHEMA = "fmkit.hardware-rates/3"
"""Raised whenever a key of the rates becomes required or means something else: rates of another version are not used."""


class OtherVersionError(UnsafeInputError):
    """The rates were kept by a version of fmkit that measured otherwise."""


class RatesFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds; `machines` by `machine_key`, each a MachineRates that is read when it is asked for."""

    schema: str = SCHEMA
    machines: dict[str, msgspec.Raw] = {}


class _Header(msgspec.Struct, frozen=True):
    schema: str = "no version"


def machine_key(machine: Machine) -> str:
    """What tells machines that share a folder apart: device, how many, and the cores that this process may use."""
    device = machine.device.name if machine.device is not None else machine.name
    return f"{machine.count} x {device}, {machine.cpu_cores or '?'} cores"


def kept_rates(folder: Path, machine: Machine) -> MachineRates | None:
    """What was measured on this machine; None if nothing was. UnsafeInputError for a file that is damaged or of another version."""
    path = folder / FILE_NAME
    return _entry(_read(path), machine, path)


def keep_rates(folder: Path, machine: Machine, rates: MachineRates) -> Path:
    """Keep the rates of this machine, with what of the earlier ones was not measured again; other machines' entries stay.

    A file of another version of fmkit begins anew. Returns the file.
    """
    path = folder / FILE_NAME
    try:
        file = _read(path)
    except OtherVersionError:
        file = RatesFile()
    whole = merged(rates, _entry(file, machine, path))
    machines = {**file.machines, machine_key(machine): msgspec.Raw(msgspec.json.encode(whole))}
    write_whole(path, msgspec.json.format(msgspec.json.encode(RatesFile(machines=machines)), indent=1))
    return path


def merged(rates: MachineRates, earlier: MachineRates | None) -> MachineRates:
    """The rates, with what only the earlier measurement has.

    That is each device of torch and llama.cpp, with the date it was measured on, and of each device the calls and types that a short
    measurement leaves out.
    """
    if earlier is None:
        return rates
    before = {one.device: one for one in earlier.torch}
    torch = tuple(_with_rare(one, before.pop(one.device, None)) for one in rates.torch)
    kept = tuple(_dated(one, earlier) for one in before.values())
    llama_cpp = rates.llama_cpp
    if llama_cpp is None and earlier.llama_cpp is not None:
        llama_cpp = _dated(earlier.llama_cpp, earlier)
    return msgspec.structs.replace(rates, torch=(*torch, *kept), llama_cpp=llama_cpp)


def _with_rare(rates: TorchRates, earlier: TorchRates | None) -> TorchRates:
    """The rates of a device, with the calls and types that only the earlier, more thorough measurement of it timed."""
    if earlier is None or (earlier.version, earlier.threads) != (rates.version, rates.threads):
        return rates
    return msgspec.structs.replace(
        rates,
        weight_bytes=_and_missing(rates.weight_bytes, earlier.weight_bytes),
        operations=_and_missing(rates.operations, earlier.operations),
        attention_macs=_and_missing(rates.attention_macs, earlier.attention_macs),
        calls=_and_missing(rates.calls, earlier.calls),
        in_model=_and_missing(rates.in_model, earlier.in_model),
    )


def _and_missing(points: tuple[Point, ...], earlier: tuple[Point, ...]) -> tuple[Point, ...]:
    """The points, and the earlier ones of a type and a call or small model that no point is of."""
    timed = {_timed(point) for point in points}
    return (*points, *(point for point in earlier if _timed(point) not in timed))


def _timed(point: RatePoint) -> tuple[str, str]:
    """What a point is of, whatever the tokens."""
    if isinstance(point, CallPoint):
        return point.dtype, point.call
    return point.dtype, point.model if isinstance(point, ModelPoint) else ""


def _dated(part: Part, of: MachineRates) -> Part:
    return msgspec.structs.replace(part, date=part.date or of.date)


def _entry(file: RatesFile, machine: Machine, path: Path) -> MachineRates | None:
    """This machine's entry; another machine's that is damaged is no fault of this one's."""
    entry = file.machines.get(machine_key(machine))
    try:
        return None if entry is None else msgspec.json.decode(entry, type=MachineRates)
    except msgspec.MsgspecError as error:
        raise _unreadable(str(error), path) from error


def _read(path: Path) -> RatesFile:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return RatesFile()
    except OSError as error:
        raise UnsafeInputError(f"the measured rates can't be read: {error.strerror}", where=str(path)) from error
    if len(content) > MOST_BYTES:
        raise _unreadable("the file is larger than any such file", path)
    try:
        schema = msgspec.json.decode(content, type=_Header).schema
        if schema == SCHEMA:
            return msgspec.json.decode(content, type=RatesFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(str(error), path) from error
    raise OtherVersionError(
        f"the measured rates can't be read: another version of fmkit kept them ({schema[:40]}, this one writes {SCHEMA})",
        where=str(path),
        next_command="fmkit hardware measure",
    )


def _unreadable(why: str, path: Path) -> UnsafeInputError:
    return UnsafeInputError(f"the measured rates can't be read: {why}", where=str(path), next_command=f"rm {path}")
