"""Memory bandwidth without torch: plausible on any machine, and honest about a busy one."""

from __future__ import annotations

import os

import msgspec
import pytest

from fmkit.hardware import detect
from fmkit.hardware.light import busy_warning, copy_bytes_per_s, read_bytes_per_s


@pytest.mark.parametrize("measure", [copy_bytes_per_s, read_bytes_per_s])
def test_a_processor_moves_between_a_tenth_and_ten_thousand_gigabytes_a_second(measure: object) -> None:
    assert callable(measure)
    assert 1e8 < measure(1, 0.01) < 1e13


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = msgspec.structs.replace(detect(), cpu_cores=4)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.1, 0.0, 0.0))
    assert "3.1 processes were running on 4 cores" in (busy_warning(machine) or "")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.4, 9.0, 9.0))
    assert busy_warning(machine) is None
    monkeypatch.delattr(os, "getloadavg")
    assert busy_warning(machine) is None
