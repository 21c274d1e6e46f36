"""Rates and sizes of the catalog's devices that follow a rule of their maker; `catalog check` holds formats against each other."""

import pytest

from fmkit.api.hardware import show_device
from fmkit.catalog.load import load_catalog
from fmkit.cli.main import main
from fmkit.errors import ExitCode
from fmkit.units import GIB

DEVICES = {each.id: each for each in load_catalog().devices.values() if each.device_class != "cpu"}
ROUNDING = 0.03


@pytest.mark.parametrize(
    "device_id", [each for each in DEVICES if each.startswith(("rx-7", "radeon-pro-w7", "ryzen-ai-max"))]
)
def test_matrices_of_rdna3_have_one_rule(device_id: str) -> None:
    """512 operations a clock and unit in FP16, BF16 and INT8, 1,024 in INT4; float32 goes at half the rate of FP16."""
    rates = DEVICES[device_id].flops_per_s
    assert rates["float16"] == rates["bfloat16"] == rates["int8"]
    assert rates["int4"] == pytest.approx(2 * rates["float16"], rel=ROUNDING)
    assert rates["float32"] == pytest.approx(rates["float16"] / 2, rel=ROUNDING)


def test_a_gb200_holds_what_its_driver_reports_and_its_instances() -> None:
    """nvidia-smi: 189,471 MiB; four MIG instances of 45.5 GiB each (NVIDIA/gpu-operator#1303)."""
    memory = DEVICES["gb200"].memory_bytes
    assert memory is not None
    assert memory >= 189_471 * 2**20
    assert memory >= 4 * 45.5 * GIB


def test_a_recalled_figure_shows_as_recalled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["hardware", "show", "max-1550"]) == ExitCode.OK
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "839 TFLOPS (recalled)" in lines["float16"]
    assert "(recalled)" not in lines["float32"] + lines["bandwidth"]
    assert show_device("rtx-4090").devices[0].recalled == ()


def test_one_device_is_shown_with_its_sources() -> None:
    (found,) = show_device("GB200").devices
    assert (found.id, found.memory_bytes) == ("gb200", DEVICES["gb200"].memory_bytes)
    assert set(found.sources) == {"memory", "bandwidth_gb_s", "bus_bits", "link_devices", "tflops"}
    assert found.reserve_reason
