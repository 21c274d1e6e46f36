"""Faults of catalog/measurements: lines that can't be read, rows without a source, names that lead nowhere."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fmkit.catalog.faults import Fault
from fmkit.catalog.measurements import RowSettings, SameShape, read_measurements
from fmkit.errors import FmkitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fmkit.catalog.checks.facts import Facts
    from fmkit.catalog.measurements import Measurement

TRUSTS = ("A", "B", "C")
Kind = TypeVar("Kind", SameShape, RowSettings)


def measurements(facts: Facts) -> Iterator[Fault]:
    """Every fault of the files in measurements/, where the catalog has them."""
    sources, links = facts.sources, facts.links
    folder = sources.folder / "measurements"
    ids: set[str] = set()
    for name in ("memory.csv", "latency.csv", "published_cpu.csv", "own_cpu.csv", "own_gpu.csv"):
        if (folder / name).is_file():
            yield from _row_faults(folder / name, f"measurements/{name}", ids)
    for row in _lines(folder / "same_shape.csv", SameShape):
        hub_ids = {config.hub_id for config in sources.configs.values()}
        if row.same_as.casefold() not in links.names and row.same_as not in hub_ids:
            message = f"no config.json of {row.same_as!r} in the catalog"
            yield Fault("measurements/same_shape.csv", row.hub_id, message, names=row.same_as)
    for settings in _lines(folder / "settings.csv", RowSettings):
        place = "measurements/settings.csv"
        if settings.measurement_id not in ids:
            yield Fault(place, settings.measurement_id, "no row of memory.csv has this id")
        if settings.layout and settings.layout not in sources.precisions.layouts:
            message = f"no layout {settings.layout!r} in the catalog"
            yield Fault(place, settings.measurement_id, message, names=settings.layout)


def _row_faults(path: Path, name: str, ids: set[str]) -> Iterator[Fault]:
    try:
        found = read_measurements(path)
    except FmkitError as error:
        yield Fault(name, "$", error.message)
        return
    for bad in found.bad_lines:
        yield Fault(name, bad.measurement_id, bad.reason)
    rows: tuple[Measurement, ...] = (*found.memory, *found.latency)
    for row in rows:
        if row.measurement_id in ids:
            yield Fault(name, row.measurement_id, "the id is used twice")
        ids.add(row.measurement_id)
        if row.trust not in TRUSTS:
            yield Fault(name, row.measurement_id, f"trust is {row.trust!r}; valid: {', '.join(TRUSTS)}")
        if not row.source:
            yield Fault(name, row.measurement_id, "missing: a measurement without a source does not get in")


def _lines(path: Path, kind: type[Kind]) -> list[Kind]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [msgspec.convert(line, kind) for line in csv.DictReader(stream)]


RULES = (measurements,)
