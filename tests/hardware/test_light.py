"""Memory bandwidth without torch: plausible on any machine, within the memory that is free, and honest about a busy one."""

from __future__ import annotations

import os

import msgspec
import pytest

from fmkit.hardware import detect
from fmkit.hardware.light import Buffers, buffers_within, busy_warning, copy_bytes_per_s, read_bytes_per_s
from fmkit.units import GIB, MIB


@pytest.mark.parametrize("measure", [copy_bytes_per_s, read_bytes_per_s])
def test_a_processor_moves_between_a_tenth_and_ten_thousand_gigabytes_a_second(measure: object) -> None:
    assert callable(measure)
    assert 1e8 < measure(Buffers(1), 0.01) < 1e13


@pytest.mark.parametrize("free_bytes", [None, 0, 100 * MIB, 2 * GIB, 16 * GIB, 1024 * GIB])
def test_buffers_of_many_threads_take_an_eighth_of_the_free_memory_at_most(free_bytes: int | None) -> None:
    found = buffers_within(192, free_bytes)
    assert 1 <= found.threads <= 192
    assert 2 * found.threads * found.bytes <= max(2 * MIB, (8 * GIB if free_bytes is None else free_bytes) // 8)


def test_a_desktop_measures_beyond_its_caches_and_little_memory_costs_threads_before_that() -> None:
    assert buffers_within(8, 16 * GIB) == Buffers(8, 64 * MIB)
    few = buffers_within(192, 2 * GIB)
    assert few.threads < 192
    assert few.bytes >= 8 * MIB


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = msgspec.structs.replace(detect(), cpu_cores=4)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.1, 0.0, 0.0))
    assert "3.1 processes were running on 4 cores" in (busy_warning(machine) or "")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.4, 9.0, 9.0))
    assert busy_warning(machine) is None
    monkeypatch.delattr(os, "getloadavg")
    assert busy_warning(machine) is None
