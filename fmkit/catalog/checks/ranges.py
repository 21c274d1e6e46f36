"""Figures and dates that can't be right: a unit mixed up, a digit lost, a day that has not come."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from fmkit.catalog.checks.dates import day_of
from fmkit.catalog.faults import Fault
from fmkit.errors import UsageError
from fmkit.units import GIB, MIB, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.schema import DeviceEntry
    from fmkit.catalog.sources import Sources

_LATER = "lies after the catalog's date"
_MANY = 20
"""More dates than this that lie after the catalog's own mean that its own is the wrong one."""

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")

# Wider than anything on sale; what lies outside is a mistake in the unit.
_MEMORY_BYTES = (512 * MIB, 2048 * GIB)
_BANDWIDTH_GB_S = (5.0, 30_000.0)
_BUS_BITS = (32, 32_768)
_TFLOPS = (0.05, 100_000.0)
_POWER_W = (1.0, 5_000.0)
_LINK_DEVICES = (1, 1024)
_USD_PER_1M = (0.001, 1_000.0)
_USD_PER_HOUR = (0.01, 200.0)
_CONTEXT_TOKENS = (1, 2**27)
_TRAINING_TOKENS = (10**7, 10**14)

_Range = tuple[float, float]


def plausible(facts: Facts) -> Iterator[Fault]:
    """Every figure out of its range and every date that is none, or lies after the catalog's own."""
    sources, day = facts.sources, facts.sources.date
    try:
        date.fromisoformat(day)
    except ValueError:
        yield Fault("VERSION", "$", f"{day!r} is no date of the form YYYY-MM-DD")
        return
    later: list[Fault] = []
    for fault in _all(sources, day):
        if _LATER in fault.message:
            later.append(fault)
        else:
            yield fault
    if len(later) > _MANY:
        first = min(later)
        message = f"{len(later):,} dates lie after it, the first in {first.file}: set the day the catalog was last looked over"
        yield Fault("VERSION", "$", message)
    else:
        yield from later


def _all(sources: Sources, day: str) -> Iterator[Fault]:
    yield from _devices(sources, day)
    yield from _open_models(sources, day)
    yield from _api_models(sources, day)
    yield from _rows(sources, day)
    for licence_id, licence in sources.licences.licences.items():
        yield from _dated(licence.source_date, day, "licences.yaml", f"$.licences.{licence_id}.source_date")


def _devices(sources: Sources, day: str) -> Iterator[Fault]:
    for stem, hardware in sources.hardware.items():
        for device_id, entry in hardware.devices.items():
            file, path = f"hardware/{stem}.yaml", f"$.devices.{device_id}"
            yield from _memory(entry, file, f"{path}.memory")
            yield from _within(entry.bandwidth_gb_s, _BANDWIDTH_GB_S, file, f"{path}.bandwidth_gb_s")
            yield from _within(entry.bus_bits, _BUS_BITS, file, f"{path}.bus_bits")
            yield from _within(entry.power_w, _POWER_W, file, f"{path}.power_w")
            yield from _within(entry.link_devices, _LINK_DEVICES, file, f"{path}.link_devices")
            yield from _within(entry.release_year, (2006, int(day[:4])), file, f"{path}.release_year")
            for number_format, rate in entry.tflops.items():
                yield from _within(rate, _TFLOPS, file, f"{path}.tflops.{number_format}")


def _memory(entry: DeviceEntry, file: str, path: str) -> Iterator[Fault]:
    if entry.memory is None:
        if entry.device_class != "cpu":
            yield Fault(file, path, "missing: only a CPU class has no memory of its own")
        return
    try:
        size = parse_size(entry.memory)
    except UsageError as error:
        yield Fault(file, path, error.message)
    else:
        yield from _within(size, _MEMORY_BYTES, file, path)


def _open_models(sources: Sources, day: str) -> Iterator[Fault]:
    for stem, family in sources.families.items():
        yield from _within(family.training_tokens, _TRAINING_TOKENS, f"families/{stem}.yaml", "$.training_tokens")
        for model_id, entry in family.models.items():
            file, path = f"families/{stem}.yaml", f"$.models.{model_id}"
            yield from _dated(entry.released, day, file, f"{path}.released")
            yield from _within(entry.context_tokens, _CONTEXT_TOKENS, file, f"{path}.context_tokens")
            for key in ("training_tokens", "further_training_tokens"):
                yield from _within(getattr(entry, key), _TRAINING_TOKENS, file, f"{path}.{key}")


def _api_models(sources: Sources, day: str) -> Iterator[Fault]:
    for stem, api in sources.apis.items():
        for model_id, entry in api.models.items():
            file, path = f"api/{stem}.yaml", f"$.models.{model_id}"
            yield from _dated(entry.released, day, file, f"{path}.released")
            yield from _dated(entry.price_date, day, file, f"{path}.price_date")
            yield from _within(entry.context_tokens, _CONTEXT_TOKENS, file, f"{path}.context_tokens")
            for key in ("input_usd_per_1m", "cached_input_usd_per_1m", "output_usd_per_1m"):
                yield from _within(getattr(entry, key), _USD_PER_1M, file, f"{path}.{key}")


def _rows(sources: Sources, day: str) -> Iterator[Fault]:
    for line, price in sources.cloud_prices:
        place = f"line {line}"
        yield from _within(
            price.usd_per_device_hour, _USD_PER_HOUR, "prices/cloud.csv", f"{place}, usd_per_device_hour"
        )
        yield from _within(price.count, (1, 1024), "prices/cloud.csv", f"{place}, count")
        yield from _dated(price.source_date, day, "prices/cloud.csv", f"{place}, source_date")
    for benchmark, rows in sources.scores.items():
        for line, row in rows:
            file, place = f"scores/{benchmark}.csv", f"line {line}"
            yield from _dated(row.source_date, day, file, f"{place}, source_date")


def _within(value: float | None, bounds: _Range, file: str, path: str) -> Iterator[Fault]:
    low, high = bounds
    if value is not None and not low <= value <= high:
        yield Fault(file, path, f"{value:g} is not between {low:g} and {high:g}")


def _dated(value: str | None, day: str, file: str, path: str) -> Iterator[Fault]:
    """A date may be a year, a month or a day; it is compared as far as it goes."""
    if value is None:
        return
    if not _DATE.fullmatch(value) or day_of(value) is None:
        yield Fault(file, path, f"{value!r} is no date: YYYY-MM-DD, YYYY-MM or YYYY")
    elif value > day[: len(value)]:
        yield Fault(file, path, f"{value} {_LATER}, {day}")


RULES = (plausible,)
