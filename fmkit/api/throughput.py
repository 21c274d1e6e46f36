"""The batch swept: how many tokens per second, per dollar and per joule a model makes as more sequences run together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from fmkit.errors import UsageError
from fmkit.machine import catalog_machine
from fmkit.results.throughput import ThroughputResult, ThroughputRow
from fmkit.selection.cost import cheapest_hourly, electricity_usd_per_1m, tokens_per_usd
from fmkit.selection.serving import MOST_SEQUENCES
from fmkit.units import format_count, format_rate, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.machine import Machine
    from fmkit.results.vram import Estimate
    from fmkit.selection.facts import CloudPrice
    from fmkit.sizing.estimate import Workload
    from fmkit.speed.estimate import Range

MOST_USD_PER_KWH = 100.0


class Estimator(Protocol):
    """What sizes one model: `fmkit.api.model_sizer.ModelSizer` and its like."""

    def estimate(self, precision: str, workload: Workload, machine: Machine) -> Estimate:
        """Memory and speed at one precision and workload."""


def electricity_price(given: float | str | None) -> float | None:
    """USD per kWh; UsageError for what is no price."""
    if given is None:
        return None
    try:
        price = float(given)
    except ValueError:
        price = -1.0
    if not 0 < price <= MOST_USD_PER_KWH:
        raise UsageError(
            f"can't read the price {given!r}: write US dollars per kWh, such as 0.30", where="--electricity"
        )
    return price


class Sweep:
    """Sweeps the batch of one model: every power of two of sequences that fits, then the best of every device that is rented out."""

    def __init__(self, catalog: Catalog, electricity: float | str | None, say: Callable[[str], None] | None) -> None:
        self.devices = catalog.devices
        self.prices = catalog.cloud_prices
        self.usd_per_kwh = electricity_price(electricity)
        self.say = say

    def __call__(
        self, sizer: Estimator, precisions: Sequence[str], workload: Workload, machine: Machine
    ) -> ThroughputResult:
        """The sweep on `machine`, whatever number of sequences `workload` has, and the best of one device each."""
        rows = self._on(machine, sizer, precisions, workload)
        if self.say is not None:
            self.say("sweeping the batch on each device that the catalog has a rent of")
        single = msgspec.structs.replace(workload, tensor_parallel=1, pipeline_parallel=1, expert_parallel=1)
        by_device = []
        for device_id in sorted({price.device for price in self.prices} & set(self.devices)):
            found = self._on(catalog_machine(self.devices[device_id], 1), sizer, precisions, single)
            by_device += [max(found, key=_per_usd)] if found else []
        by_device.sort(key=lambda row: -_per_usd(row))
        priced = any(row.usd_per_hour for row in (*rows, *by_device))
        return ThroughputResult(
            rows=tuple(rows),
            by_device=tuple(by_device),
            summary=tuple(
                _summary(rows, by_device, machine) if rows else [self._why_none(machine, sizer, precisions, workload)]
            ),
            electricity_usd_per_kwh=self.usd_per_kwh,
            price_source=_price_source(self.prices) if priced else None,
        )

    @staticmethod
    def _why_none(machine: Machine, sizer: Estimator, precisions: Sequence[str], workload: Workload) -> str:
        """Why not even one sequence has a rate of tokens."""
        single = msgspec.structs.replace(workload, sequences=1)
        found = [sizer.estimate(precision, single, machine) for precision in precisions]
        speeds = [one.speed for one in found if one.fits is not False and one.valid]
        if not speeds:
            return "no sequence fits"
        if any(speed is not None and speed.decode_tokens_per_s is None for speed in speeds):
            return "nothing is written token by token: --sequences 1,8,32 shows what each batch takes in per second"
        return "the speed is not known here"

    def _on(
        self, machine: Machine, sizer: Estimator, precisions: Sequence[str], workload: Workload
    ) -> list[ThroughputRow]:
        price = cheapest_hourly(self.prices, machine)
        return [row for name in precisions for row in _sweep(sizer, name, workload, machine, price, self.usd_per_kwh)]


def _sweep(
    sizer: Estimator,
    precision: str,
    workload: Workload,
    machine: Machine,
    price: CloudPrice | None,
    usd_per_kwh: float | None,
) -> Iterator[ThroughputRow]:
    """One row per number of sequences, until memory is full."""
    sequences = 1
    while sequences <= MOST_SEQUENCES:
        found = sizer.estimate(precision, msgspec.structs.replace(workload, sequences=sequences), machine)
        speed = found.speed
        if found.fits is False or not found.valid or speed is None:
            return
        together, each = speed.throughput_tokens_per_s, speed.decode_tokens_per_s
        if together is None or each is None:
            return
        hourly = None if price is None else price.usd_per_device_hour * machine.count
        joules = speed.energy_j_per_1k_tokens
        yield ThroughputRow(
            device=machine.device.id if machine.device is not None and machine.origin == "catalog" else machine.name,
            precision=precision,
            sequences=sequences,
            context_tokens=workload.context_tokens,
            tokens_per_s=together,
            tokens_per_s_each=each,
            basis=speed.basis,
            points=0 if speed.decode_basis is None else speed.decode_basis.points,
            usd_per_hour=hourly,
            tokens_per_usd=None if hourly is None else tokens_per_usd(together, hourly),
            joules_per_1k_tokens=joules,
            electricity_usd_per_1m_tokens=None
            if joules is None or usd_per_kwh is None
            else electricity_usd_per_1m(joules, usd_per_kwh),
        )
        sequences *= 2


def _per_usd(row: ThroughputRow) -> float:
    return row.tokens_per_usd.median if row.tokens_per_usd is not None else 0.0


def _summary(rows: Sequence[ThroughputRow], by_device: Sequence[ThroughputRow], machine: Machine) -> Iterator[str]:
    best = max(rows, key=lambda row: row.tokens_per_s.median)
    one = next(row for row in rows if (row.precision, row.sequences) == (best.precision, 1))
    gain = best.tokens_per_s.median / one.tokens_per_s.median
    count = f"{machine.count} x " if machine.count > 1 else ""
    yield (
        f"most on {count}{best.device}: {best.precision.upper()} with {number_of(best.sequences, 'sequence')}, "
        f"{_range(best.tokens_per_s)} tokens/s, {format_rate(gain)} times one sequence"
    )
    if by_device:
        first = by_device[0]
        assert first.tokens_per_usd is not None
        yield (
            f"most per dollar: {first.device} at {first.usd_per_hour:g} USD per hour, {first.precision.upper()} with "
            f"{number_of(first.sequences, 'sequence')}, {_count(first.tokens_per_usd.low)} to {_count(first.tokens_per_usd.high)} "
            "tokens per dollar if it is never idle"
        )


def _count(tokens: float) -> str:
    return format_count(float(f"{tokens:.2g}"))


def _range(rate: Range) -> str:
    return f"{format_rate(rate.low)} to {format_rate(rate.high)}"


def _price_source(prices: Sequence[CloudPrice]) -> str:
    newest = max(price.source_date for price in prices if price.source_date)
    return f"rents of catalog/prices/cloud.csv, list prices until {newest}"
