"""The runtime that the catalog states for a CPU, held against the process peaks of benchmarks/exactness.py, each architecture left out in turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmkit.catalog.load import load_catalog
from fmkit.units import MIB

PEAKS = Path(__file__).parents[2] / "benchmarks" / "results" / "exactness.json"
NEAR = 0.02
"""Relative errors beyond this count less and less: a line for most architectures, not for the oddest."""


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found = json.loads(PEAKS.read_bytes())["peaks"]["cases"]
    return [cell for cell in found if cell.get("process_peak_bytes")]


def columns(cells: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bytes of the process, of its tensors as predicted, of those above the weights; and the model of each cell."""
    process, tensors, above = (
        np.array([cell[key] for cell in cells], float)
        for key in ("process_peak_bytes", "predicted_peak_bytes", "predicted_above_bytes")
    )
    return process, tensors, above, np.array([cell["model"] for cell in cells])


def line(process: np.ndarray, tensors: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Fixed bytes and bytes per byte above the weights, by least squares of relative errors that count less the larger they are."""
    terms = np.stack([np.ones_like(above), above], axis=1) / process[:, None]
    wanted = (process - tensors) / process
    found = np.zeros(2)
    for _ in range(50):
        weights = (1 + ((wanted - terms @ found) / NEAR) ** 2) ** -0.25
        found = np.linalg.lstsq(terms * weights[:, None], wanted * weights, rcond=None)[0]
    return found


def test_an_architecture_never_seen_is_within_the_aim(cells: list[dict[str, Any]]) -> None:
    process, tensors, above, models = columns(cells)
    errors = np.zeros(len(cells))
    for model in sorted(set(models)):
        out = models == model
        fixed, share = line(process[~out], tensors[~out], above[~out])
        errors[out] = abs((tensors[out] + fixed + share * above[out]) / process[out] - 1)
    assert np.quantile(errors, 0.5) < 0.05
    assert np.quantile(errors, 0.9) < 0.12


def test_the_catalog_states_the_line_and_a_range_that_holds_every_cell(cells: list[dict[str, Any]]) -> None:
    process, tensors, above, _ = columns(cells)
    engine = load_catalog().engines["transformers"]
    stated = engine.runtime_on("cpu")
    assert stated is not None
    fixed, share = line(process, tensors, above)
    assert abs(stated.bytes - fixed) < 6 * MIB
    assert abs(stated.beside_share - share) < 0.02
    low, high = engine.bounds_of("peak", "cpu") or (1.0, 1.0)
    ratios = process / (tensors + stated.bytes + stated.beside_share * above)
    assert low <= ratios.min()
    assert ratios.max() <= high
