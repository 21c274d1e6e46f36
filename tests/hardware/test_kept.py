"""Rates measured once and used from then on: one file, several machines, nothing believed blindly, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from fmkit.api.kept_rates import kept_here
from fmkit.errors import UnreadRatesWarning, UnsafeInputError
from fmkit.hardware.kept import FILE_NAME, OtherVersionError, keep_rates, kept_rates
from fmkit.machine import Device, Machine, memory_machine
from fmkit.speed.rates import CallPoint, LlamaCppRates, MachineRates, RatePoint, TorchRates
from fmkit.trial.paths import data_folder
from fmkit.units import GIB

TORCH = TorchRates(
    device="cpu", device_name="cpu", version="2.13.0", threads=8, layer_s=5e-4, copy_bytes_per_s=4e10,
    weight_bytes=(RatePoint(dtype="bfloat16", tokens=1, per_s=2e10),), operations=(), attention_macs=(),
)  # fmt: skip
CUDA = msgspec.structs.replace(TORCH, device="cuda", device_name="NVIDIA H100", host_to_device_bytes_per_s=7.4e9)
LLAMA_CPP = LlamaCppRates(
    version="0.2", threads=8, layers=(), token_s=1e-3, vocabulary_s=1e-9, weights=(), attention_macs=()
)


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


def rates(
    read: float, *torch: TorchRates, date: str = "2026-11-27", llama_cpp: LlamaCppRates | None = None
) -> MachineRates:
    return MachineRates(
        machine="EPYC",
        date=date,
        seconds=9.5,
        cores=8,
        read_bytes_per_s=read,
        copy_bytes_per_s=4e10,
        torch=torch,
        llama_cpp=llama_cpp,
    )


def test_each_machine_finds_its_own_and_the_last_one_counts(tmp_path: Path) -> None:
    keep_rates(tmp_path / "new", machine(8), rates(1e10, TORCH))
    keep_rates(tmp_path / "new", machine(2), rates(2e10))
    keep_rates(tmp_path / "new", machine(8), rates(3e10, TORCH))
    assert kept_rates(tmp_path / "new", machine(8)) == rates(3e10, TORCH)
    assert kept_rates(tmp_path / "new", machine(2)) == rates(2e10)
    assert kept_rates(tmp_path / "new", machine(4)) is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_a_measurement_replaces_what_it_measured_and_leaves_the_rest_with_its_date(tmp_path: Path) -> None:
    """A full one, then `--light`, then one of the accelerator."""
    keep_rates(tmp_path, machine(8), rates(1e10, CUDA, TORCH, llama_cpp=LLAMA_CPP))
    keep_rates(tmp_path, machine(8), rates(2e10, date="2026-11-28"))
    light = kept_rates(tmp_path, machine(8))
    assert light is not None
    assert (light.read_bytes_per_s, light.date) == (2e10, "2026-11-28")
    assert [(one.device, one.date) for one in light.torch] == [("cuda", "2026-11-27"), ("cpu", "2026-11-27")]
    assert light.llama_cpp == msgspec.structs.replace(LLAMA_CPP, date="2026-11-27")
    faster = msgspec.structs.replace(CUDA, copy_bytes_per_s=9e11, date="2026-11-29")
    keep_rates(tmp_path, machine(8), rates(3e10, faster, date="2026-11-29"))
    last = kept_rates(tmp_path, machine(8))
    assert last is not None
    assert last.on(cpu=False) == faster
    assert last.timed_on("transformers", cpu=False) == "2026-11-29"
    assert last.timed_on("transformers", cpu=True) == last.timed_on("llama.cpp", cpu=True) == "2026-11-27"


def test_a_short_measurement_leaves_the_calls_and_types_that_only_a_thorough_one_times(tmp_path: Path) -> None:
    """By call and type: an earlier point of what was timed again is gone, whatever its tokens. Another release of torch starts anew."""

    def of(version: str, *calls: CallPoint, weights: tuple[RatePoint, ...]) -> TorchRates:
        return msgspec.structs.replace(TORCH, version=version, calls=calls, weight_bytes=weights)

    narrow, gelu = (CallPoint(call=call, dtype="bfloat16", tokens=4, per_s=1.0) for call in ("narrowing", "new-gelu"))
    again = msgspec.structs.replace(narrow, tokens=1, per_s=2.0)
    wide = msgspec.structs.replace(narrow, dtype="float32")
    half, brain = (RatePoint(dtype=dtype, tokens=1, per_s=1.0) for dtype in ("float16", "bfloat16"))
    for release, calls, weights in (("2.13.0", (again, wide, gelu), (brain, half)), ("2.14.0", (again,), (brain,))):
        keep_rates(tmp_path / release, machine(8), rates(1e10, of("2.13.0", narrow, wide, gelu, weights=(brain, half))))
        keep_rates(tmp_path / release, machine(8), rates(1e10, of(release, again, weights=(brain,))))
        found = kept_rates(tmp_path / release, machine(8))
        assert found is not None
        assert (found.torch[0].calls, found.torch[0].weight_bytes) == (calls, weights)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": "fmkit.hardware-rates/3", "machines": [1]}',
        b'{"schema": "fmkit.hardware-rates/3", "machines": {"1 x EPYC, 8 cores": {"date": 1}}}',
        b"\xff\xfe",
        b" " * (5 * 2**20),
    ],
    ids=range(7),
)
def test_a_damaged_file_is_named_and_does_not_stop_an_estimate(content: bytes) -> None:
    folder = data_folder()
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(UnsafeInputError, match="measured rates can't be read") as caught:
        kept_rates(folder, machine(8))
    assert caught.value.next_command == f"rm {folder / FILE_NAME}"
    with pytest.raises(UnsafeInputError):
        keep_rates(folder, machine(8), rates(1e10))
    with pytest.warns(UnreadRatesWarning, match="estimates go without them"):
        assert kept_here(machine(8)) is None
    assert kept_here(machine(8)) is None  # said once


def test_rates_of_another_version_are_said_not_used_and_make_room() -> None:
    """A file of the first version, whose rates of llama.cpp had no `layers`."""
    old = json.loads(msgspec.json.encode(rates(1e10, TORCH, llama_cpp=LLAMA_CPP)))
    del old["llama_cpp"]["layers"]
    folder = data_folder()
    folder.mkdir(parents=True)
    file = folder / FILE_NAME
    file.write_text(json.dumps({"schema": "fmkit.hardware-rates/1", "machines": {"1 x EPYC, 8 cores": old}}))
    with pytest.raises(
        OtherVersionError, match=r"another version of fmkit kept them \(fmkit.hardware-rates/1"
    ) as caught:
        kept_rates(folder, machine(8))
    assert caught.value.next_command == "fmkit hardware measure"
    with pytest.warns(UnreadRatesWarning, match="Next: fmkit hardware measure"):
        assert kept_here(machine(8)) is None
    keep_rates(folder, machine(8), rates(2e10))
    assert kept_rates(folder, machine(8)) == rates(2e10)


def test_another_machines_damaged_entry_is_left_to_it(tmp_path: Path) -> None:
    keep_rates(tmp_path, machine(8), rates(1e10))
    file = tmp_path / FILE_NAME
    content = json.loads(file.read_text())
    content["machines"]["another"] = {"date": 1}
    file.write_text(json.dumps(content))
    keep_rates(tmp_path, machine(8), rates(2e10))
    assert kept_rates(tmp_path, machine(8)) == rates(2e10)
    assert json.loads(file.read_text())["machines"]["another"] == {"date": 1}


def test_rates_are_for_the_machine_they_were_taken_on() -> None:
    keep_rates(data_folder(), machine(8), rates(1e10, TORCH))
    assert kept_here(machine(8)) == rates(1e10, TORCH)
    assert kept_here(msgspec.structs.replace(machine(8), origin="catalog")) is None
    assert kept_here(memory_machine(GIB)) is None


def test_the_processors_rates_are_not_the_accelerators() -> None:
    assert rates(1.0, TORCH).on(cpu=True) == TORCH
    assert rates(1.0, TORCH).on(cpu=False) is None
