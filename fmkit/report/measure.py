"""What `fmkit hardware measure` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_next, print_table, say
from fmkit.speed.rates import RatePoint
from fmkit.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.hardware import MeasureResult
    from fmkit.speed.rates import Call, LlamaCppRates, ModelPoint, TorchRates


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
    llama = [point for point in torch.in_model if point.model == "llama"]
    alone = next((point.beside_s for point in llama if point.tokens == 1), None)
    if alone is not None:
        rows.insert(1, ["a layer of a small Llama beside its matrices", f"{alone * 1e6:,.0f} us"])
    if torch.host_to_device_bytes_per_s is not None:
        rows.append(["copy from main memory", _rate(torch.host_to_device_bytes_per_s, "B/s")])
    print_table(console, ["", ""], rows, indent=2)
    mamba = [point for point in torch.in_model if point.model == "mamba"]
    _print_rates(
        console,
        [
            ("weights of linear layers", "B/s", torch.weight_bytes),
            ("linear layers", "FLOP/s", torch.operations),
            ("attention, multiply-adds", "MAC/s", torch.attention_macs),
            *((name, unit, [one for one in torch.calls if one.call == call]) for call, (name, unit) in CALLS.items()),
            ("in a small Llama", "weights/s", llama),
            ("in a small Mamba, beside its matrices", "tokens/s", [_scanned(point) for point in mamba]),
        ],
    )


def _scanned(point: ModelPoint) -> RatePoint:
    """The tokens that a layer takes per second beside its matrices."""
    return RatePoint(dtype=point.dtype, tokens=point.tokens, per_s=point.tokens / point.beside_s, spread=point.spread)


def _print_llama_cpp(rates: LlamaCppRates, console: Console) -> None:
    say(console, f"llama.cpp on the processor (xllamacpp {rates.version}), {rates.threads} threads", style="bold")
    beside = [
        [f"a layer beside its weights, {point.tokens:,} at once", f"{point.seconds * 1e6:,.0f} us"]
        for point in rates.layers
    ]
    print_table(console, ["", ""], beside, indent=2)
    _print_rates(
        console,
        [("weights", "weights/s", rates.weights), ("attention, multiply-adds", "MAC/s", rates.attention_macs)],
    )


CALLS: dict[Call, tuple[str, str]] = {
    "narrowing": ("outputs no more than inputs", "weights/s"), "transposed": ("transposed", "weights/s"),
    "last-token": ("a head over the last token", "weights/s"), "new-gelu": ("a GELU spelt out", "elements/s"),
}  # fmt: skip
"""What calls are named, and the unit of their rates."""


def _print_rates(console: Console, rates: Sequence[tuple[str, str, Sequence[RatePoint]]]) -> None:
    """One row for each rate and type, one column for each number of tokens at once; one below the other where they have no room."""
    of_types = [
        (name, unit, dtype, [point for point in points if point.dtype == dtype])
        for name, unit, points in rates
        for dtype in dict.fromkeys(point.dtype for point in points)
    ]
    if console.width < LEAST_WIDTH:
        rows = [
            [name if point is points[0] else "", dtype, f"{point.tokens:,}", _rate(point.per_s, unit)]
            for name, unit, dtype, points in of_types
            for point in points
        ]
        print_table(console, ["rate", "type", "tokens at once", "per second"], rows, indent=2)
        return
    tokens = sorted({point.tokens for *_, points in of_types for point in points})
    columns = ["rate with so many tokens at once", "type", *(f"{count:,}" for count in tokens), "spread"]
    print_table(console, columns, [_row(*one, tokens) for one in of_types], indent=2)


LEAST_WIDTH = 110
"""Columns of a terminal that the wide table has room in."""


def _row(name: str, unit: str, dtype: str, points: Sequence[RatePoint], tokens: Sequence[int]) -> list[str]:
    """A rate in one type over each number of tokens, all with one prefix, and the largest spread."""
    scale, prefix = _prefix(max(point.per_s for point in points))
    known = {point.tokens: f"{point.per_s / scale:,.3g}" for point in points}
    spread = max(point.spread for point in points)
    return [
        f"{name}, {prefix}{unit}",
        dtype,
        *(known.get(count, "") for count in tokens),
        format_percent(spread, digits=0) if spread else "",
    ]


PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _prefix(per_s: float) -> tuple[float, str]:
    """The decimal prefix of a rate, and what it stands for."""
    return next((one for one in PREFIXES if per_s >= one[0]), (1.0, ""))


def _rate(per_s: float, unit: str) -> str:
    """A rate with a decimal prefix.

    >>> _rate(26.4e9, "B/s"), _rate(790e12, "FLOP/s"), _rate(2.5e6, "MAC/s")
    ('26.4 GB/s', '790 TFLOP/s', '2.5 MMAC/s')
    """
    scale, prefix = _prefix(per_s)
    return f"{per_s / scale:.3g} {prefix}{unit}"
