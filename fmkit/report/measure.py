"""What `fmkit hardware measure` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_next, print_table, say
from fmkit.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from fmkit.results.hardware import MeasureResult
    from fmkit.speed.rates import Call, LlamaCppRates, RatePoint, TorchRates


def print_measured(result: MeasureResult, console: Console) -> None:
    """Draw the rates: first the processor's memory, then what torch reaches on each device."""
    rates = result.rates
    say(console, f"{rates.machine}: measured on {rates.date} in {rates.seconds:g} s", style="bold")
    rows = [
        ["main memory, read", _rate(rates.read_bytes_per_s, "B/s")],
        ["main memory, copy (read + written)", _rate(rates.copy_bytes_per_s, "B/s")],
    ]
    if rates.disk_read_bytes_per_s is not None:
        rows.append(["disk of the models, read", _rate(rates.disk_read_bytes_per_s, "B/s")])
    print_table(console, ["", ""], rows, indent=2)
    for torch in rates.torch:
        _print_torch(torch, console)
    if rates.llama_cpp is not None:
        _print_llama_cpp(rates.llama_cpp, console)
    if result.kept_in is not None:
        say(console, f"kept in {result.kept_in}; estimates for this machine use it from now on")
    elif result.not_kept is not None:
        say(console, f"not kept, and no estimate uses it: {result.not_kept}")
    print_next(result.next, console)


def _print_torch(torch: TorchRates, console: Console) -> None:
    where = torch.device if torch.device == torch.device_name else f"{torch.device}, {torch.device_name}"
    say(console, f"torch {torch.version} on {where}, {torch.threads} threads", style="bold")
    rows = [
        ["launching one layer", f"{torch.layer_s * 1e6:,.0f} us"],
        ["copy inside its memory", _rate(torch.copy_bytes_per_s, "B/s")],
    ]
    alone = next((point.beside_s for point in torch.in_model if point.tokens == 1), None)
    if alone is not None:
        rows.insert(1, ["a layer of a small Llama beside its matrices", f"{alone * 1e6:,.0f} us"])
    if torch.host_to_device_bytes_per_s is not None:
        rows.append(["copy from main memory", _rate(torch.host_to_device_bytes_per_s, "B/s")])
    print_table(console, ["", ""], rows, indent=2)
    table = [
        *_rows("weights of linear layers", torch.weight_bytes, "B/s"),
        *_rows("operations of linear layers", torch.operations, "FLOP/s"),
        *_rows("multiply-adds of attention", torch.attention_macs, "MAC/s"),
        *(row for point in torch.calls for row in _rows(CALL_NAMES[point.call], (point,), "/s")),
        *_rows("weights in a small Llama", torch.in_model, "/s"),
    ]
    print_table(console, ["rate", "type", "tokens at once", "per second", "spread"], table, indent=2)


def _print_llama_cpp(rates: LlamaCppRates, console: Console) -> None:
    say(console, f"llama.cpp on the processor (xllamacpp {rates.version}), {rates.threads} threads", style="bold")
    beside = [
        [f"a layer beside its weights, {point.tokens:,} at once", f"{point.seconds * 1e6:,.0f} us"]
        for point in rates.layers
    ]
    print_table(console, ["", ""], beside, indent=2)
    table = [
        *_rows("weights", rates.weights, "/s"),
        *_rows("multiply-adds of attention", rates.attention_macs, "MAC/s"),
    ]
    print_table(console, ["rate", "type", "tokens at once", "per second", "spread"], table, indent=2)


CALL_NAMES: dict[Call, str] = {
    "narrowing": "weights, outputs no more than inputs", "transposed": "weights, transposed", "last-token": "weights of a head, last token",
    "scan": "selective scan: elements of state",
}  # fmt: skip


def _rows(name: str, points: Iterable[RatePoint], unit: str) -> list[list[str]]:
    return [
        [name, point.dtype, f"{point.tokens:,}", _rate(point.per_s, unit), format_percent(point.spread, digits=0)]
        for point in points
    ]


def _rate(per_s: float, unit: str) -> str:
    """A rate with a decimal prefix.

    >>> _rate(26.4e9, "B/s"), _rate(790e12, "FLOP/s"), _rate(2.5e6, "MAC/s")
    ('26.4 GB/s', '790 TFLOP/s', '0.0025 GMAC/s')
    """
    scaled, prefix = (per_s / 1e12, "T") if per_s >= 1e12 else (per_s / 1e9, "G")
    return f"{scaled:.3g} {prefix}{unit}"
