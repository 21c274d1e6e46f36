"""A limit on memory: what holds it, a model that goes over it, and how memory that ran out is told."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fmkit.api.trial_memory import limit_of, limited
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import plan_trial
from fmkit.api.trial_run import run_plan
from fmkit.errors import ExitCode, TrialFailedError, UsageError
from fmkit.machine import memory_machine
from fmkit.results.trial import TrialResult
from fmkit.trial import runner
from fmkit.trial.failure import failure_of
from fmkit.trial.memory_limit import command_prefix, in_cgroup
from fmkit.trial.out_of_memory import OutOfMemoryError, kernel_kills
from fmkit.trial.request import TrialFailure
from fmkit.trial.runner import run_in_child
from fmkit.units import GIB, MIB, format_bytes
from tests.trial.tiny import CONFIGS, request

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")

CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.15 GiB of which 1.21 GiB is free. Including non-PyTorch "
    "memory, this process has 77.93 GiB memory in use. Of the allocated memory 76.50 GiB is allocated by PyTorch, and 950.12 MiB is "
    "reserved by PyTorch but unallocated."
)
"""As PyTorch 2 writes it (c10/cuda/CUDACachingAllocator.cpp)."""

WIDE = CONFIGS["llama"][1] | {"vocab_size": 4_000_000}
"""Embedding and head of 977 MiB each in float32."""


@on_linux
def test_random_weights_over_the_limit() -> None:
    with pytest.raises(OutOfMemoryError, match="out of memory while loading the model") as caught:
        run_in_child(request("llama", config=WIDE, limit_bytes=GIB))
    assert caught.value.exit_code == ExitCode.TRIAL_FAILED
    failure = caught.value.failure
    assert failure.held_bytes is not None
    assert failure.wanted_bytes == 4_000_000 * 64 * 4
    assert failure.held_bytes <= GIB < failure.held_bytes + failure.wanted_bytes


@pytest.mark.full
@on_linux
def test_the_answer_says_what_would_have_fitted() -> None:
    options = TrialOptions(random_weights=True, layers=11, keep=False, checks=("none",), repeat=0)
    plan = plan_trial("gpt2", None, ("512",), (1,), options)
    short = msgspec.structs.replace(options, limit_memory="720MiB")
    with pytest.raises(OutOfMemoryError) as caught:
        run_plan(plan, short)
    assert "more asked for, which makes" in caught.value.message
    assert f"The estimate was {format_bytes(plan.estimates[0].per_device_bytes)}" in caught.value.message
    assert "What would fit: --precision " in caught.value.message
    enough = msgspec.structs.replace(options, limit_memory="1200MiB")
    (result,) = run_plan(plan, enough)
    assert isinstance(result, TrialResult)
    assert result.memory_limit is not None
    assert result.memory_limit.means[-2:] == ("rlimit-data", "watch")


@pytest.mark.full
@on_linux
def test_a_sweep_keeps_what_it_measured_before_the_process_went_over() -> None:
    cell = {"encoder_tokens": 64, "decode_steps": 2}
    further = [
        {"context_tokens": 96, **cell},
        {"context_tokens": 64, "sequences": 20_000, **cell},
        {"context_tokens": 32, **cell},
    ]
    asked = request("llama", limit_bytes=GIB, repeat=1, checks=())
    sweep = msgspec.convert({**msgspec.to_builtins(asked), "further": further}, type=type(asked))
    outcome = run_in_child(sweep)
    assert outcome.further[0].failure is None
    failure = outcome.further[1].failure
    assert failure is not None
    assert failure.kind == "out-of-memory"
    assert outcome.further[2].failure is None  # the allocation failed, not the process


def test_what_is_killed_in_a_sweep_leaves_what_came_before(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(
        '{"outcome": {"engine": {"name": "x", "version": "1"}, "task": "t", "device": "CPU", "measured": {"weights": 1}, "load_s": 1.0, '
        '"timing": {}, "output": "", "checks": [], "further": [{"measured": {"weights": 2}}]}, "failure": null}'
    )
    cells = ({"context_tokens": 8}, {"context_tokens": 9}, {"context_tokens": 10})
    asked = msgspec.convert({**msgspec.to_builtins(request("llama")), "further": cells}, type=type(request("llama")))
    failure = TrialFailure(kind="out-of-memory", phase="prefill", message="killed", held_bytes=7)
    error = OutOfMemoryError(failure, "x", where="m")
    outcome = runner._measured_before(tmp_path / "result.json", error, Dead(), asked)  # type: ignore[arg-type]
    assert outcome.measured == {"weights": 1}
    assert [cell.measured.get("weights") for cell in outcome.further] == [2, None, None]
    assert outcome.further[1].failure == failure
    assert outcome.further[2].failure is not None
    assert "not run" in outcome.further[2].failure.message


class Dead:
    """A child that has ended."""

    phase = "load"
    doing = "loading the model"
    kernel_kills_before: int | None = 3

    def __init__(self, *tail: str) -> None:
        self.tail = tail


@pytest.mark.parametrize(
    ("status", "kills", "tail", "kind", "words"),
    [
        (-signal.SIGKILL, 4, (), OutOfMemoryError, "the kernel killed the process"),
        (-signal.SIGKILL, 3, (), TrialFailedError, "not by the kernel for want of memory"),
        (-signal.SIGKILL, None, (), TrialFailedError, "most likely the system ran out of memory"),
        (-signal.SIGSEGV, 3, (), TrialFailedError, "SIGSEGV"),
        (-signal.SIGABRT, 3, ("terminate called after throwing an instance of 'std::bad_alloc'",), OutOfMemoryError, "bad_alloc"),
        (1, 3, ("Killed by nobody",), TrialFailedError, "ended with status 1 while loading the model; last words: Killed"),
    ],
)  # fmt: skip
def test_what_ended_a_child(
    status: int, kills: int | None, tail: Sequence[str], kind: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "kernel_kills", lambda: kills)
    error = runner._death(status, Dead(*tail), request("llama"))  # type: ignore[arg-type]
    assert type(error) is kind
    assert words in error.message
    assert "loading the model" in error.message


def test_the_kernels_count(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 100\noom_kill 12\n")  # of a Linux 6.18
    assert kernel_kills(vmstat) == 12
    vmstat.write_text("nr_free_pages 100\n")
    assert kernel_kills(vmstat) is None
    assert kernel_kills(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("text", "held", "wanted"),
    [
        (CUDA, round(76.5 * GIB), round(2.5 * GIB)),
        ("CUDA error: out of memory", None, None),
        ("HIP out of memory. Tried to allocate 512.00 MiB.", None, 512 * MIB),
    ],
)
def test_devices_say_what_they_held(text: str, held: int | None, wanted: int | None) -> None:
    failure = failure_of(RuntimeError(text), "prefill")
    assert (failure.kind, failure.held_bytes, failure.wanted_bytes) == ("out-of-memory", held, wanted)


@on_linux
def test_systemd_is_asked_and_believed_only_if_the_cgroup_has_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    tool = tmp_path / "systemd-run"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    prefix = command_prefix(5 * GIB)
    done = subprocess.run([*prefix, "echo", "ran"], capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n"
    assert f"MemoryMax={5 * GIB} -p MemorySwapMax=0 -- echo ran" in asked.read_text()
    tool.write_text("#!/bin/sh\necho Failed to connect to bus >&2; exit 1\n")
    assert command_prefix(5 * GIB) == []


def test_the_limit_of_a_cgroup(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("1:cpu:/\n0::/user.slice/run-1.scope\n")
    scope = tmp_path / "root" / "user.slice" / "run-1.scope"
    scope.mkdir(parents=True)
    for said, holds in (("5368709120", True), ("max", False), ("9368709120", False), ("1073741824", False)):
        (scope / "memory.max").write_text(f"{said}\n")
        assert in_cgroup(5 * GIB, own, tmp_path / "root") is holds
    assert not in_cgroup(5 * GIB, tmp_path / "none", tmp_path / "root")


def test_the_limit_counts_as_the_machine() -> None:
    machine = memory_machine(24 * GIB)
    assert limited(machine, 8 * GIB).usable_bytes == 8 * GIB
    assert limited(machine, 48 * GIB) == limited(machine, None) == machine


@pytest.mark.parametrize("size", ["8", "1KiB", "lots", "-3GiB", 0])
def test_silly_limits(size: Any) -> None:
    with pytest.raises(UsageError) as caught:
        limit_of(size)
    assert caught.value.where == "--limit-memory"
