"""`fmkit hardware measure`: what this machine really reaches, kept for every later estimate."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from fmkit import __version__
from fmkit.api.kept_rates import forget_read
from fmkit.api.measure_doubts import drift_warning, slower_than_kept, spread_warning
from fmkit.errors import FmkitError, MissingExtraError, UsageError
from fmkit.results.hardware import MeasureResult
from fmkit.speed.rates import LlamaCppRates, MachineRates
from fmkit.trial.paths import data_folder
from fmkit.units import GIB, format_bytes

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import TorchRates
    from fmkit.trial.device_calls import DeviceName

TORCH_DEVICES = ("cpu", "cuda", "mps", "xpu")

MOST_LLAMA_CPP_S = 180.0

LLAMA_CPP_BYTES = 3 * GIB
"""What the files that llama.cpp's kernels are timed over take together, on the disk of temporary files and in memory."""

Say = Callable[[str], None]


def measure_hardware(
    *,
    light: bool = False,
    thorough: bool = False,
    device: str | None = None,
    keep: bool | None = None,
    say: Say | None = None,
) -> MeasureResult:
    """Measure this machine, in about 15 seconds per device, ten of them timed calls, and keep the rates for later estimates.

    `thorough` takes three times as long over each call, and times on the processor what few models do too (float16, GPT-2's matrices and
    activation, Mamba's scan) and, where xllamacpp is installed, llama.cpp's own kernels: a minute on two cores. Without torch, or
    with `light`, only the bandwidths of the processor's memory and of the disk are measured. `device` limits torch to `cpu` or
    to the accelerator (`cuda`, `mps`, `xpu`). What is not measured again stays as it was kept. By default the rates of a machine that is
    busy, or slower than it was, are not kept; `keep` says so in either case. `say` hears what is going on.
    """
    from fmkit.hardware import detect  # noqa: PLC0415  looks at the machine only when it is asked to
    from fmkit.hardware.disk import models_folder  # noqa: PLC0415
    from fmkit.hardware.disk import read_bytes_per_s as disk_read_bytes_per_s  # noqa: PLC0415
    from fmkit.hardware.light import busy_warning  # noqa: PLC0415

    tell, warnings = say or _nothing, list[str]()
    if light and thorough:
        raise UsageError(
            "--light and --thorough exclude each other",
            where="--thorough",
            next_command="fmkit hardware measure --thorough",
        )
    devices = _asked_devices(device, light, tell, warnings)
    machine = detect()
    if keep is not False:
        _refuse_a_damaged_file(machine)
    busy = busy_warning(machine)
    started = time.perf_counter()
    read, copied = _bandwidths(machine, tell, warnings)
    tell("the disk that models are kept on")
    disk = disk_read_bytes_per_s(models_folder())
    if disk is None:
        warnings.append(
            f"the disk of the models was not measured: no file of {models_folder()} could be read past the system's cache"
        )
    today = datetime.now(UTC).date().isoformat()
    torch = _torch_rates(devices, tell, today, thorough=thorough)
    warnings += [warning for rates in torch if (warning := spread_warning(rates)) is not None]
    drift = drift_warning(torch)
    warnings += [drift] if drift is not None else []
    llama_cpp = _llama_cpp_rates(tell, warnings) if thorough and device in (None, "cpu") else None
    doubts = [doubt for doubt in (busy, slower_than_kept(machine, torch)) if doubt is not None]
    rates = MachineRates(
        machine=machine.name,
        date=today,
        seconds=round(time.perf_counter() - started, 1),
        cores=machine.cpu_cores,
        read_bytes_per_s=read,
        copy_bytes_per_s=copied,
        torch=torch,
        warnings=(*doubts, *warnings),
        disk_read_bytes_per_s=disk,
        llama_cpp=None if llama_cpp is None else msgspec.structs.replace(llama_cpp, date=today),
        doubt=doubts[0] if doubts else None,
    )
    if keep is None and doubts:
        how = f"{' --light' if light else ''}{' --thorough' if thorough else ''}"
        again = f"fmkit hardware measure{how}{f' --device {device}' if device else ''}"
        return MeasureResult(
            fmkit=__version__, rates=rates, kept_in=None, not_kept=doubts[0], next=(again, f"{again} --keep")
        )
    return MeasureResult(
        fmkit=__version__,
        rates=rates,
        kept_in=None if keep is False else _kept(machine, rates),
        next=(
            "fmkit vram llama-3.2-1b-instruct",
            "fmkit try" if thorough or not devices else "fmkit hardware measure --thorough",
        ),
    )


def _asked_devices(device: str | None, light: bool, say: Say, warnings: list[str]) -> tuple[DeviceName, ...]:
    """What torch is to be timed on, nothing without torch; refuses what can't be measured, before anything is."""
    if device is not None and device not in TORCH_DEVICES:
        raise UsageError.unknown(
            "device of torch", device, TORCH_DEVICES, where="--device", next_command="fmkit hardware measure"
        )
    if light:
        if device is not None:
            raise UsageError(
                "--light measures without torch, and --device names a device of torch: leave out one of them",
                where="--device",
                next_command="fmkit hardware measure --light",
            )
        return ()
    if find_spec("torch") is None:
        if device not in (None, "cpu"):
            raise MissingExtraError.for_extra("try", f"measuring {device}", "torch")
        warnings.append(
            "torch is not installed: matrix rates were not measured; pip install 'fmkit[try]' and measure again"
        )
        return ()
    if find_spec("transformers") is None or find_spec("accelerate") is None:
        warnings.append(
            "transformers is not installed: what calls come to inside a model was not measured; pip install 'fmkit[try]' and measure again"
        )
    say("importing torch")
    from fmkit.trial.rates import torch_devices  # noqa: PLC0415  imports torch

    here = torch_devices()
    if device is not None and device not in here:
        raise UsageError(
            f"torch has no {device} in this machine, but {' and '.join(here)}",
            where="--device",
            next_command=f"fmkit hardware measure --device {here[0]}",
        )
    return tuple(one for one in here if device in (None, one))


def _refuse_a_damaged_file(machine: Machine) -> None:
    """Raise what is wrong with the file of rates, for nothing could be kept in it; one of another version begins anew."""
    from fmkit.hardware.kept import OtherVersionError, kept_rates  # noqa: PLC0415

    with suppress(OtherVersionError):
        kept_rates(data_folder(), machine)


def _bandwidths(machine: Machine, say: Say, warnings: list[str]) -> tuple[float, float]:
    """Bytes per second that all cores read, and that they copy (read plus written), of main memory."""
    from fmkit.hardware.cpu import probe  # noqa: PLC0415  looks at the machine
    from fmkit.hardware.light import buffers_within, copy_bytes_per_s, read_bytes_per_s  # noqa: PLC0415

    threads = machine.cpu_cores or 1
    buffers = buffers_within(threads, probe().free_bytes)
    if buffers.threads < threads:
        warnings.append(
            f"little memory is free: its bandwidth was measured with {buffers.threads} of {threads} threads, and may be higher"
        )
    say(f"memory bandwidth of the processor, {buffers.threads} threads")
    return read_bytes_per_s(buffers), copy_bytes_per_s(buffers)


def _kept(machine: Machine, rates: MachineRates) -> str:
    from fmkit.hardware.kept import keep_rates  # noqa: PLC0415

    forget_read()
    try:
        return str(keep_rates(data_folder(), machine, rates))
    except OSError as error:
        raise FmkitError(f"can't keep the rates: {error.strerror}", where=str(data_folder())) from error


def _torch_rates(devices: tuple[DeviceName, ...], say: Say, today: str, *, thorough: bool) -> tuple[TorchRates, ...]:
    """Rates of torch on each of the devices."""
    if not devices:
        return ()
    from fmkit.trial.rates import measure_torch  # noqa: PLC0415  imports torch

    return tuple(msgspec.structs.replace(measure_torch(one, say, thorough=thorough), date=today) for one in devices)


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


def _nothing(text: str) -> None:
    del text
