"""What makes a measurement doubtful: repeats far apart, a speed that changes meanwhile, a processor that is slower than it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.api.kept_rates import kept_here

if TYPE_CHECKING:
    from fmkit.machine import Machine
    from fmkit.speed.rates import TorchRates

DOUBTFUL_SPREAD = 0.25
"""Middle half of a rate's repeats, over its median, above which the rate is doubtful: an idle machine stays below 0.1 (assumed)."""

LARGE_DRIFT = 0.15
"""Change of the speed of the same call that is told."""


def spread_warning(rates: TorchRates) -> str | None:
    """Which rates were repeated with results far apart; None where all repeats agree."""
    points = (*rates.weight_bytes, *rates.operations, *rates.attention_macs, *rates.calls)
    doubtful = [f"{point.dtype} x {point.tokens}" for point in points if point.spread > DOUBTFUL_SPREAD]
    if not doubtful:
        return None
    shown = ", ".join(dict.fromkeys(doubtful))
    return f"repeats on {rates.device} lay far apart ({shown}): other programs took part of the machine; measure again"


def _on_processor(torch: tuple[TorchRates, ...]) -> TorchRates | None:
    """The rates of the small Llama that drift is told by."""
    from fmkit.trial.drift import can_tell  # noqa: PLC0415  imports torch

    return next((rates for rates in torch if rates.device == "cpu" and can_tell(rates)), None)


def drift_warning(torch: tuple[TorchRates, ...]) -> str | None:
    """Whether the processor's speed changed while it was measured."""
    now = _on_processor(torch)
    if now is None:
        return None
    from fmkit.trial.drift import Clock  # noqa: PLC0415  imports torch

    change = Clock(now, "float32").drift()
    if abs(change.decode - 1) <= LARGE_DRIFT and abs(change.prefill - 1) <= LARGE_DRIFT:
        return None
    return (
        f"the processor's speed changed while it was measured: calls now take {change.decode:.2f} (memory) and {change.prefill:.2f} "
        "(matrices) times as long; on a shared machine estimates are off by as much"
    )


def slower_than_kept(machine: Machine, torch: tuple[TorchRates, ...]) -> str | None:
    """How much slower the processor is than it was when its kept rates were measured; None where it isn't, or was not."""
    now, earlier = _on_processor(torch), kept_here(machine)
    before = None if earlier is None else _on_processor(earlier.torch)
    if now is None or earlier is None or before is None or before.threads != now.threads:
        return None
    from fmkit.trial.drift import Clock  # noqa: PLC0415  imports torch

    since = Clock(before, "float32").drift()
    if since.decode <= 1 + LARGE_DRIFT and since.prefill <= 1 + LARGE_DRIFT:
        return None
    return (
        f"this machine is slow at the moment: calls take {since.decode:.2f} (memory) and {since.prefill:.2f} (matrices) times as long "
        f"as on {before.date or earlier.date}; measure again later"
    )
