"""What `fmkit hardware measure` leaves out, and says so."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import pytest

from fmkit.api import measure


def test_kernels_that_there_is_no_room_for_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda _: object())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started all the same"))
    warnings: list[str] = []
    assert measure._llama_cpp_rates(lambda _: None, warnings) is None
    assert "3.00 GiB of free memory and disk" in warnings[0]
    assert "1.00 GiB are free" in warnings[0]
