"""`fmkit accuracy`: every prediction that can be held against a measurement, and the rows that can't with their reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.accuracy.comparison import Comparison
from fmkit.api.accuracy.latency import latency_cases, predicted_rate
from fmkit.api.accuracy.memory import figures_of, memory_comparisons
from fmkit.api.accuracy.subject import NotScored, known_engine
from fmkit.api.accuracy.summary import fit_rules, groups_by
from fmkit.api.accuracy.trials import trial_comparisons
from fmkit.api.asked import text
from fmkit.catalog.load import load_catalog
from fmkit.catalog.measurements import read_measurements, shipped_measurements
from fmkit.errors import FmkitError
from fmkit.results.accuracy import AccuracyResult, AccuracyRow, LeftOut

if TYPE_CHECKING:
    from fmkit.catalog.load import Catalog
    from fmkit.catalog.measurements import (
        LatencyMeasurement,
        Measurement,
        Measurements,
        MemoryMeasurement,
    )

TRUSTED = frozenset("AB")

NOTES = (
    "vLLM: a constant of the start-up profile was fitted on 8 of the logs scored here; benchmarks/memory_accuracy.py leaves each out in turn",
    "transformers: rules of the current release, with what releases before 4.45 did otherwise",
    "speed: efficiencies were fitted on rows of these files; benchmarks/speed_accuracy.py holds groups out",
)

RATES = {
    "prefill": ("prefill",),
    "decode": ("decode",),
    "prefill+decode": ("prefill", "decode"),
    "e2e": ("throughput",),
    "serving": ("decode",),
}
"""The quantities that a latency row offers, by what it measures."""


def accuracy(measurements: str | None = None) -> AccuracyResult:
    """Predictions held against the shipped measurements and this computer's trials, or against the rows of a CSV file.

    `measurements` is a file with the columns of the catalog's measurements/memory.csv or latency.csv. Rows of trust C
    are left out, as is what fmkit has no rules for. UnsafeInputError for a file that can't be read.
    """
    catalog = load_catalog()
    scored: list[Comparison] = []
    left_out: list[LeftOut] = []
    sources: tuple[str, ...] = ("catalog/measurements", "trials kept on this computer")
    if measurements is None:
        rows = shipped_measurements()
    else:
        path = text(measurements, "--measurements")
        rows, sources = read_measurements(Path(path).expanduser()), (path,)
    notes = list(NOTES) if measurements is None else []
    _score(rows, catalog, scored, left_out)
    shipped, own = len(scored), list[Comparison]()
    if measurements is None:
        try:
            for found in trial_comparisons(catalog):
                if isinstance(found, Comparison):
                    own.append(found)
                else:
                    left_out.append(found)
        except FmkitError as error:
            notes.append(f"kept trials are not scored: {error.message}")
    scored.extend(own)
    return AccuracyResult(
        fmkit=__version__,
        catalog=catalog.date,
        measured_in=sources,
        overall=groups_by(scored, left_out),
        engines=groups_by(scored, left_out, engine=True),
        versions=groups_by([each for each in scored if each.quantity == "total"], (), engine=True, version=True),
        groups=groups_by(scored, left_out, engine=True, device=True),
        out_of_memory=fit_rules(scored),
        rows=tuple(_row(each) for each in scored),
        left_out=tuple(left_out),
        notes=tuple(notes),
        shipped=groups_by(scored[:shipped], (), engine=True) if own else (),
        own=groups_by(own, (), engine=True),
    )


def _score(rows: Measurements, catalog: Catalog, scored: list[Comparison], left_out: list[LeftOut]) -> None:
    left_out.extend(
        LeftOut(measurement_id=bad.measurement_id, quantity="", engine="", device="", reason=bad.reason)
        for bad in rows.bad_lines
    )
    for memory in rows.memory:
        _score_memory(memory, catalog, scored, left_out)
    for latency in rows.latency:
        _score_latency(latency, catalog, scored, left_out)


def _score_memory(row: MemoryMeasurement, catalog: Catalog, scored: list[Comparison], left_out: list[LeftOut]) -> None:
    try:
        _require_trust(row)
        for found in memory_comparisons(row, catalog):
            if isinstance(found, Comparison):
                scored.append(found)
            else:
                left_out.append(_left_out(row, *found))
    except NotScored as reason:
        left_out.extend(_left_out(row, quantity, str(reason)) for quantity in figures_of(row) or ("total",))


def _score_latency(
    row: LatencyMeasurement, catalog: Catalog, scored: list[Comparison], left_out: list[LeftOut]
) -> None:
    try:
        _require_trust(row)
        for case in latency_cases(row, catalog):
            predicted = predicted_rate(case, catalog)
            scored.append(
                Comparison(
                    measurement_id=row.measurement_id,
                    quantity=case.rate,
                    engine=case.subject.engine,
                    engine_version=row.engine_version,
                    device=row.accelerator_id,
                    predicted=predicted.median,
                    low=predicted.low,
                    high=predicted.high,
                    measured=case.measured_per_s,
                )
            )
    except NotScored as reason:
        left_out.extend(_left_out(row, quantity, str(reason)) for quantity in RATES.get(row.measures, ("throughput",)))


def _require_trust(row: Measurement) -> None:
    if row.trust not in TRUSTED:
        raise NotScored(f"trust {row.trust}: self-reported, inconsistent, or no measurement of need")


def _left_out(row: Measurement, quantity: str, reason: str) -> LeftOut:
    engine = known_engine(row.engine) or row.engine
    return LeftOut(
        measurement_id=row.measurement_id, quantity=quantity, engine=engine, device=row.accelerator_id, reason=reason
    )


def _row(found: Comparison) -> AccuracyRow:
    fields = AccuracyRow.__struct_fields__
    return AccuracyRow(**{name: getattr(found, name) for name in fields})
