"""The fitted speed model: speed/effects.csv, spreads.csv and fit.yaml, written by benchmarks/fit_speed.py."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fmkit.catalog.csv_file import read_csv
from fmkit.catalog.schema import EffectRow, SpeedFile, SpreadRow
from fmkit.catalog.yaml_file import read_yaml
from fmkit.speed.efficiency import SpeedFit, Spread

if TYPE_CHECKING:
    from pathlib import Path

    from fmkit.catalog.faults import Fault

NO_FIT = SpeedFit(date="", rows=0, effects={}, measured={}, spreads={})
"""A catalog without a fitted speed model: no speed is predicted."""


FITTED_TO = ("latency.csv", "own_cpu.csv", "own_gpu.csv", "same_shape.csv", "settings.csv")
"""The files of measurements/ that the speed model is fitted to."""


def measurements_digest(folder: Path) -> str:
    """A digest of the measurements in `folder`/measurements that are fitted: another one means that the fit is out of step."""
    digest = hashlib.sha256()
    for name in FITTED_TO:
        path = folder / "measurements" / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def read_speed(folder: Path, faults: list[Fault]) -> SpeedFit:
    """The fit in `folder`/speed; NO_FIT where there is none."""
    facts = folder / "speed" / "fit.yaml"
    if not facts.is_file():
        return NO_FIT
    head = read_yaml(facts, "speed/fit.yaml", SpeedFile, faults)
    effects: dict[str, dict[str, float]] = {}
    measured: dict[str, int] = {}
    for _, row in read_csv(folder / "speed" / "effects.csv", "speed/effects.csv", EffectRow, faults):
        effects.setdefault(f"{row.phase} {row.part}", {})[row.scope] = row.effect
        measured[f"{row.phase} {row.scope}"] = max(row.points, measured.get(f"{row.phase} {row.scope}", 0))
    spreads: dict[str, Spread] = {}
    widths: dict[str, float] = {}
    for _, found in read_csv(folder / "speed" / "spreads.csv", "speed/spreads.csv", SpreadRow, faults):
        if found.low is not None and found.high is not None:
            spreads[f"{found.quantity} {found.basis}"] = Spread(low=found.low, high=found.high, points=found.points)
        else:
            widths[f"{found.quantity} {found.basis}, {found.scope}"] = found.width
    if head is None:
        return NO_FIT
    return SpeedFit(
        date=head.date,
        rows=head.rows,
        measurements=head.measurements,
        effects=effects,
        measured=measured,
        spreads=spreads,
        widths=widths,
    )
