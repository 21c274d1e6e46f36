"""Rates measured once and used from then on: one file, several machines, nothing believed blindly."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fmkit.api.kept_rates import kept_here
from fmkit.errors import UnsafeInputError
from fmkit.hardware.kept import FILE_NAME, keep_rates, kept_rates
from fmkit.machine import Device, Machine, memory_machine
from fmkit.speed.rates import MachineRates, RatePoint, TorchRates
from fmkit.trial.paths import data_folder
from fmkit.units import GIB

TORCH = TorchRates(
    device="cpu", device_name="cpu", version="2.13.0", threads=8, layer_s=5e-4, copy_bytes_per_s=4e10,
    weight_bytes=(RatePoint(dtype="bfloat16", tokens=1, per_s=2e10),), operations=(), attention_macs=(),
)  # fmt: skip


def machine(cores: int) -> Machine:
    device = Device(
        id="x", name="EPYC", vendor="cpu", device_class="cpu", memory_bytes=None, bandwidth_bytes_per_s=None
    )
    return Machine(
        name=f"EPYC, {cores} cores",
        origin="detected",
        device=device,
        count=1,
        memory_bytes=GIB,
        usable_bytes=GIB,
        cpu_cores=cores,
    )


def rates(read: float) -> MachineRates:
    return MachineRates(
        machine="EPYC",
        date="2026-11-27",
        seconds=9.5,
        cores=8,
        read_bytes_per_s=read,
        copy_bytes_per_s=4e10,
        torch=(TORCH,),
    )


def test_each_machine_finds_its_own_and_the_last_one_counts(tmp_path: Path) -> None:
    keep_rates(tmp_path / "new", machine(8), rates(1e10))
    keep_rates(tmp_path / "new", machine(2), rates(2e10))
    keep_rates(tmp_path / "new", machine(8), rates(3e10))
    assert kept_rates(tmp_path / "new", machine(8)) == rates(3e10)
    assert kept_rates(tmp_path / "new", machine(2)) == rates(2e10)
    assert kept_rates(tmp_path / "new", machine(4)) is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"machines": {"a": 1}}', b"\xff\xfe", b" " * (5 * 2**20)], ids=range(6)
)
def test_a_damaged_file_is_named_and_does_not_stop_an_estimate(content: bytes) -> None:
    folder = data_folder()
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(UnsafeInputError, match="measured rates can't be read"):
        kept_rates(folder, machine(8))
    assert kept_here(machine(8)) is None


def test_rates_are_for_the_machine_they_were_taken_on() -> None:
    keep_rates(data_folder(), machine(8), rates(1e10))
    assert kept_here(machine(8)) == rates(1e10)
    assert kept_here(msgspec.structs.replace(machine(8), origin="catalog")) is None
    assert kept_here(memory_machine(GIB)) is None


def test_the_processors_rates_are_not_the_accelerators() -> None:
    assert rates(1.0).on(cpu=True) == TORCH
    assert rates(1.0).on(cpu=False) is None
