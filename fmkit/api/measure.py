"""`fmkit hardware measure`: what this machine really reaches, kept for every later estimate."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.kept_rates import forget_read, kept_here
from fmkit.errors import FmkitError, UsageError
from fmkit.results.hardware import MeasureResult
from fmkit.speed.rates import LlamaCppRates, MachineRates
from fmkit.trial.paths import data_folder
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import TorchRates

TORCH_BUDGET_S = 5.0
"""Seconds of timed calls per device; imports, allocations and first calls come on top."""

DOUBTFUL_SPREAD = 0.25
"""Middle half of a rate's repeats, over its median, above which the rate is doubtful: an idle machine stays below 0.1 (assumed)."""

LARGE_DRIFT = 0.15
"""Change of the speed of the same call that is told."""

MOST_LLAMA_CPP_S = 180.0

LLAMA_CPP_BYTES = 3 * GIB
"""What the files that llama.cpp's kernels are timed over take together, on the disk of temporary files and in memory."""

Say = Callable[[str], None]


def measure_hardware(
    *, light: bool = False, device: str | None = None, keep: bool = True, say: Say | None = None
) -> MeasureResult:
    """Measure this machine in about 20 seconds per device, and keep the rates for later estimates.

    Where xllamacpp is installed, llama.cpp's own kernels are timed on the processor too (about 30 seconds on two cores). Without torch, or with `light`, only the bandwidths of the processor's memory and of the disk are measured. `device` limits torch to `cpu` or
    to the accelerator (`cuda`, `mps`, `xpu`). `say` hears what is going on.
    """
    from fmkit.hardware import detect  # noqa: PLC0415  looks at the machine only when it is asked to
    from fmkit.hardware.disk import models_folder  # noqa: PLC0415
    from fmkit.hardware.disk import read_bytes_per_s as disk_read_bytes_per_s  # noqa: PLC0415
    from fmkit.hardware.light import busy_warning, copy_bytes_per_s, read_bytes_per_s  # noqa: PLC0415

    tell = say or _nothing
    machine = detect()
    warnings = [found] if (found := busy_warning(machine)) is not None else []
    started = time.perf_counter()
    threads = machine.cpu_cores or 1
    tell(f"memory bandwidth of the processor, {threads} threads")
    read, copied = read_bytes_per_s(threads), copy_bytes_per_s(threads)
    tell("the disk that models are kept on")
    disk = disk_read_bytes_per_s(models_folder())
    torch = () if light else _torch_rates(device, tell, warnings)
    warnings += [warning for rates in torch if (warning := _spread_warning(rates)) is not None]
    warnings += _drift_warnings(machine, torch)
    llama_cpp = None if light or device not in (None, "cpu") else _llama_cpp_rates(tell, warnings)
    rates = MachineRates(
        machine=machine.name,
        date=datetime.now(UTC).date().isoformat(),
        seconds=round(time.perf_counter() - started, 1),
        cores=machine.cpu_cores,
        read_bytes_per_s=read,
        copy_bytes_per_s=copied,
        torch=torch,
        warnings=tuple(warnings),
        disk_read_bytes_per_s=disk,
        llama_cpp=llama_cpp,
    )
    return MeasureResult(
        fmkit=__version__,
        rates=rates,
        kept_in=_kept(machine, rates) if keep else None,
        next=("fmkit vram llama-3.2-1b-instruct", "fmkit try"),
    )


def _kept(machine: Machine, rates: MachineRates) -> str:
    from fmkit.hardware.kept import keep_rates  # noqa: PLC0415

    forget_read()
    try:
        return str(keep_rates(data_folder(), machine, rates))
    except OSError as error:
        raise FmkitError(f"can't keep the rates: {error.strerror}", where=str(data_folder())) from error


def _torch_rates(device: str | None, say: Say, warnings: list[str]) -> tuple[TorchRates, ...]:
    """Rates of torch on each device it can use, or on the one asked for; none without torch, which is said."""
    if find_spec("torch") is None:
        warnings.append(
            "torch is not installed: matrix rates were not measured; pip install 'fmkit[try]' and measure again"
        )
        return ()
    say("importing torch")
    from fmkit.trial.rates import measure_torch, torch_devices  # noqa: PLC0415  imports torch

    devices = torch_devices()
    if device is not None and device not in devices:
        raise UsageError.unknown("device of torch", device, devices, where="--device")
    return tuple(measure_torch(one, TORCH_BUDGET_S, say) for one in devices if device in (None, one))


def _drift_warnings(machine: Machine, torch: tuple[TorchRates, ...]) -> list[str]:
    """Whether the processor's speed changed while it was measured, and whether it is far from what is kept from before."""
    now = next((rates for rates in torch if rates.device == "cpu" and rates.in_model), None)
    if now is None:
        return []
    from fmkit.trial.drift import Clock  # noqa: PLC0415  imports torch

    found = []
    change = Clock(now, "float32").drift()
    if abs(change.decode - 1) > LARGE_DRIFT or abs(change.prefill - 1) > LARGE_DRIFT:
        found.append(
            f"the processor's speed changed while it was measured: calls now take {change.decode:.2f} (memory) and {change.prefill:.2f} "
            "(matrices) times as long; on a shared machine estimates are off by as much"
        )
    earlier = kept_here(machine)
    before = earlier.on(cpu=True) if earlier is not None else None
    if earlier is not None and before is not None and before.in_model and before.threads == now.threads:
        since = Clock(before, "float32").drift()
        if since.decode > 1 + LARGE_DRIFT or since.prefill > 1 + LARGE_DRIFT:
            found.append(
                f"this machine is slow at the moment: calls take {since.decode:.2f} (memory) and {since.prefill:.2f} (matrices) times as long "
                f"as on {earlier.date}; measure again later"
            )
    return found


def _llama_cpp_rates(say: Say, warnings: list[str]) -> LlamaCppRates | None:
    """Rates of llama.cpp's kernels on the processor, timed in a process of their own; None without xllamacpp, or where that fails."""
    if find_spec("xllamacpp") is None:
        return None
    from fmkit.hardware.cpu import probe  # noqa: PLC0415  looks at the machine

    free = min(shutil.disk_usage(tempfile.gettempdir()).free, probe().free_bytes or LLAMA_CPP_BYTES)
    if free < LLAMA_CPP_BYTES:
        warnings.append(
            f"llama.cpp's kernels were not timed: that takes {format_bytes(LLAMA_CPP_BYTES)} of free memory and disk ({tempfile.gettempdir()}), "
            f"and {format_bytes(free)} are free; its speed is estimated from published measurements"
        )
        return None
    say("llama.cpp's kernels on the processor")
    from fmkit.trial.interruption import interruptible  # noqa: PLC0415  only where a process is started
    from fmkit.trial.runner import child_environment  # noqa: PLC0415
    from fmkit.trial.workplace import workplace  # noqa: PLC0415

    command = [sys.executable, "-m", "fmkit.trial.llama_cpp_rates"]
    # its files lie in a folder that this process removes; its stdin stays open until it has answered: it ends when this process does
    with (
        interruptible(),
        workplace("llama.cpp's kernels") as place,
        subprocess.Popen(  # noqa: S603  fmkit itself
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(place.path),
        ) as child,
    ):
        try:
            answer = _answer(child)
            return msgspec.json.decode(answer, type=LlamaCppRates)
        except (subprocess.TimeoutExpired, msgspec.MsgspecError):
            pass
        finally:
            child.kill()
    warnings.append("llama.cpp's kernels could not be timed: its speed is estimated from published measurements")
    return None


def _answer(child: subprocess.Popen[bytes]) -> bytes:
    """What the child prints, once it is done; TimeoutExpired for one that takes too long."""
    child.wait(MOST_LLAMA_CPP_S)
    assert child.stdout is not None
    return child.stdout.read()


def _spread_warning(rates: TorchRates) -> str | None:
    points = (*rates.weight_bytes, *rates.operations, *rates.attention_macs, *rates.calls)
    doubtful = [f"{point.dtype} x {point.tokens}" for point in points if point.spread > DOUBTFUL_SPREAD]
    if not doubtful:
        return None
    shown = ", ".join(dict.fromkeys(doubtful))
    return f"repeats on {rates.device} lay far apart ({shown}): other programs took part of the machine; measure again"


def _nothing(text: str) -> None:
    del text
