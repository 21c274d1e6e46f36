"""`fmkit hardware measure`: what this machine really reaches, kept for every later estimate."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.kept_rates import forget_read
from fmkit.errors import FmkitError, UsageError
from fmkit.results.hardware import MeasureResult
from fmkit.speed.rates import MachineRates
from fmkit.trial.paths import data_folder

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import TorchRates

TORCH_BUDGET_S = 8.0
"""Seconds of timed calls per device; imports, allocations and first calls come on top."""

DOUBTFUL_SPREAD = 0.25
"""Middle half of a rate's repeats, over its median, above which the rate is doubtful: an idle machine stays below 0.1 (assumed)."""

Say = Callable[[str], None]


def measure_hardware(
    *, light: bool = False, device: str | None = None, keep: bool = True, say: Say | None = None
) -> MeasureResult:
    """Measure this machine in about 10 seconds per device, and keep the rates for later estimates.

    Without torch, or with `light`, only the bandwidths of the processor's memory and of the disk are measured. `device` limits torch to `cpu` or
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


def _spread_warning(rates: TorchRates) -> str | None:
    points = (*rates.weight_bytes, *rates.operations, *rates.attention_macs)
    doubtful = [f"{point.dtype} x {point.tokens}" for point in points if point.spread > DOUBTFUL_SPREAD]
    if not doubtful:
        return None
    shown = ", ".join(dict.fromkeys(doubtful))
    return f"repeats on {rates.device} lay far apart ({shown}): other programs took part of the machine; measure again"


def _nothing(text: str) -> None:
    del text
