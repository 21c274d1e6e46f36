"""`fmkit hardware`: what is measured, kept and shown, what is left out and refused, and how much an estimate believes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest

from fmkit.api import measure
from fmkit.api.hardware import list_devices, show_device, show_hardware
from fmkit.api.kept_rates import forget_read, kept_here
from fmkit.api.measure import measure_hardware
from fmkit.api.processor_rates import rated
from fmkit.api.sizing import estimate_for
from fmkit.catalog.load import load_catalog
from fmkit.errors import MissingExtraError, UnsafeInputError, UsageError
from fmkit.hardware.cpu import Host
from fmkit.hardware.detect import processor_only
from fmkit.hardware.kept import FILE_NAME, keep_rates
from fmkit.machine import Machine
from fmkit.results.vram import Estimate
from fmkit.sizing.estimate import Workload
from fmkit.speed.rates import MachineRates, RatePoint, TorchRates
from fmkit.trial.paths import data_folder
from fmkit.units import GIB

MACHINE = processor_only(
    Host(name="EPYC", cores=2, memory_bytes=32 * GIB, free_bytes=30 * GIB, formats=("float32", "bfloat16"))
)


def torch_rates(date: str = "2026-11-27") -> TorchRates:
    points = tuple(RatePoint(dtype=dtype, tokens=64, per_s=4e11) for dtype in ("float32", "bfloat16"))
    return TorchRates(
        device="cpu", device_name="cpu", version="2.13.0", threads=2, layer_s=1e-4, copy_bytes_per_s=4e10, date=date,
        weight_bytes=points, operations=points, attention_macs=(),
    )  # fmt: skip


def light(copy: float = 44e9, date: str = "2026-11-28") -> MachineRates:
    return MachineRates(
        machine=MACHINE.name, date=date, seconds=2, cores=2, read_bytes_per_s=50e9, copy_bytes_per_s=copy
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet machine whose memory and disk answer at once: 44 GB/s copied, 50 read, 2 from the disk."""
    forget_read()
    monkeypatch.setattr("fmkit.hardware.detect", lambda: MACHINE)
    monkeypatch.setattr("fmkit.hardware.light.busy_warning", lambda _: None)
    monkeypatch.setattr("fmkit.hardware.light.read_bytes_per_s", lambda _: 50e9)
    monkeypatch.setattr("fmkit.hardware.light.copy_bytes_per_s", lambda _: 44e9)
    monkeypatch.setattr("fmkit.hardware.disk.read_bytes_per_s", lambda _: 2e9)


def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmkit.hardware.light.busy_warning", lambda _: "this machine is busy: 2.0 processes")
    monkeypatch.setattr("fmkit.hardware.light.copy_bytes_per_s", lambda _: 5.42e9)


@pytest.mark.usefixtures("here")
def test_what_a_busy_machine_measures_is_not_kept_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = measure_hardware(light=True)
    assert quiet.kept_in is not None
    busy(monkeypatch)
    found = measure_hardware(light=True)
    assert (found.kept_in, found.not_kept) == (None, "this machine is busy: 2.0 processes")
    assert found.next == ("fmkit hardware measure --light", "fmkit hardware measure --light --keep")
    assert found.rates.warnings == ("this machine is busy: 2.0 processes",)
    assert kept_here(MACHINE) == quiet.rates
    forced = measure_hardware(light=True, keep=True)
    assert kept_here(MACHINE) == forced.rates
    assert show_hardware().warnings == ("this machine is busy: 2.0 processes",)


@pytest.mark.usefixtures("here")
def test_nothing_is_kept_where_it_is_asked_not_to() -> None:
    found = measure_hardware(light=True, keep=False)
    assert (found.kept_in, found.not_kept) == (None, None)
    assert kept_here(MACHINE) is None


@pytest.mark.usefixtures("here")
def test_the_measured_figures_are_shown_with_their_dates() -> None:
    keep_rates(data_folder(), MACHINE, msgspec.structs.replace(light(date="2026-11-27"), torch=(torch_rates(),)))
    keep_rates(data_folder(), MACHINE, light())
    found = show_hardware()
    assert found.bandwidth_bytes_per_s == 44_000_000_000
    assert [(one.name, one.bytes_per_s, one.date) for one in found.measured] == [
        ("main memory, read", 50e9, "2026-11-28"),
        ("main memory, copy (read + written)", 44e9, "2026-11-28"),
        ("torch 2.13.0 on cpu, copy inside its memory", 4e10, "2026-11-27"),
    ]


def test_rates_that_were_not_measured_stay_assumed_and_are_no_better_basis() -> None:
    core = load_catalog().engines["transformers"].cpu_core
    devices = [
        machine.device
        for rates in (None, light(), msgspec.structs.replace(light(), torch=(torch_rates(),)))
        if (machine := rated(MACHINE, core, rates)) is not None
    ]
    assumed, some, full = (device for device in devices if device is not None)
    assert not assumed.verified
    assert some.flops_per_s == assumed.flops_per_s != {}
    assert (some.bandwidth_bytes_per_s, some.verified) == (44_000_000_000, False)
    assert some.sources["bandwidth_gb_s"] == "44 GB/s, measured here on 2026-11-28"
    assert some.sources["tflops"] == "assumed from 2 cores"
    assert full.flops_per_s == {"float32": 4e11, "bfloat16": 4e11}
    assert full.verified


def estimated(rates: MachineRates | None, monkeypatch: pytest.MonkeyPatch) -> Estimate:
    def kept(_: Machine) -> MachineRates | None:
        return rates

    monkeypatch.setattr("fmkit.api.sizing.kept_here", kept)
    catalog = load_catalog()
    spec = catalog.model("qwen2.5-0.5b-instruct").spec
    assert spec is not None
    return estimate_for(spec, "fp16", Workload(context_tokens=2048), MACHINE, catalog)


def test_a_light_measurement_keeps_the_first_token_and_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured where it was assumed to lie, a bandwidth changes nothing but what the estimate rests on."""
    before, after = estimated(None, monkeypatch).speed, estimated(light(), monkeypatch).speed
    assert before is not None
    assert after is not None
    assert after.ttft_s is not None
    assert after.ttft_s == before.ttft_s
    assert after.basis == before.basis == "extrapolated"
    assert after.decode_tokens_per_s == before.decode_tokens_per_s
    assert "measured here" not in before.reason
    assert "(44 GB/s, measured here on 2026-11-28)" in after.reason
    doubtful = estimated(msgspec.structs.replace(light(), doubt="busy"), monkeypatch).speed
    assert doubtful is not None
    assert "with doubts: fmkit hardware show)" in doubtful.reason


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "message", "next_command"),
    [
        ({"device": "tpu"}, "unknown device of torch 'tpu'", "fmkit hardware measure"),
        ({"device": "cpu", "light": True}, "leave out one", "fmkit hardware measure --light"),
        ({"device": "mps"}, "torch has no mps in this machine, but cpu", "fmkit hardware measure --device cpu"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is(
    options: dict[str, object], message: str, next_command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmkit.hardware.light.read_bytes_per_s", lambda _: pytest.fail("measured all the same"))
    torch = SimpleNamespace(torch_devices=lambda: ("cpu",))
    monkeypatch.setitem(sys.modules, "fmkit.trial.rates", torch)  # imports no torch
    with pytest.raises(UsageError, match=message) as caught:
        measure_hardware(**options)  # type: ignore[arg-type]  # test data
    assert (caught.value.where, caught.value.next_command) == ("--device", next_command)


@pytest.mark.usefixtures("here")
def test_a_device_without_torch_and_a_damaged_file_are_refused_at_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmkit.hardware.light.read_bytes_per_s", lambda _: pytest.fail("measured all the same"))
    monkeypatch.setattr(measure, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError):
        measure_hardware(device="cuda")
    data_folder().mkdir(parents=True)
    (data_folder() / FILE_NAME).write_bytes(b"{")
    with pytest.raises(UnsafeInputError, match="can't be read"):
        measure_hardware(light=True)


def test_an_unknown_vendor_or_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown vendor 'nvidea'; nearest: nvidia") as caught:
        list_devices("nvidea")
    assert (caught.value.where, caught.value.next_command) == ("--vendor", "fmkit hardware list")
    assert {device.vendor for device in list_devices("NVIDIA").devices} == {"nvidia"}
    with pytest.raises(UsageError, match="unknown device 'rtx-409'") as caught:
        show_device("rtx-409")
    assert caught.value.where == "DEVICE"


def test_kernels_that_there_is_no_room_for_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started all the same"))
    warnings: list[str] = []
    assert measure._llama_cpp_rates(lambda _: None, warnings) is None
    assert "3.00 GiB of free memory and disk" in warnings[0]
    assert "1.00 GiB are free" in warnings[0]
