"""Estimates held against what an H100 measured (benchmarks/results/gpu-trials-h100.json): transformers 5.23, torch 2.11, random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from fmkit.api.resolve import resolve_model
from fmkit.api.sizing import estimate_for
from fmkit.catalog.load import load_catalog
from fmkit.machine import catalog_machine
from fmkit.results.vram import Estimate
from fmkit.sizing.estimate import Workload
from fmkit.units import MIB

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "gpu-trials-h100.json"
WORKSPACE_BYTES = 9 * MIB
"""cuBLASLt takes 8.1 MiB at its first product with a bias, or over an unpacked matrix; fmkit counts it as the runtime's."""


def rows() -> Iterator[Any]:
    for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]:
        work = row["workload"]
        name = f"{row['model']}-{row['precision']}-{work['sequences']}x{work['context_tokens']}"
        yield pytest.param(row, id=name)


ROWS = list(rows())


def estimated(row: dict[str, Any]) -> Estimate:
    catalog = load_catalog()
    work = row["workload"]
    spec = resolve_model(row["model"], catalog, offline=True).spec
    assert spec is not None
    workload = Workload(
        context_tokens=work["context_tokens"], sequences=work["sequences"], images=1 if work["image_tokens"] else None
    )
    return estimate_for(
        spec, row["precision"], workload, catalog_machine(catalog.devices["h100-sxm5-80gb"], 1), catalog
    )


def allocated(estimate: Estimate) -> int:
    """What PyTorch allocates of the peak."""
    return estimate.peak_bytes - sum(line.bytes for line in estimate.lines if line.part.startswith("runtime"))


@pytest.mark.parametrize("row", ROWS)
def test_peak_on_a_gpu(row: dict[str, Any]) -> None:
    estimate, measured = estimated(row), row["measured"]
    if row["precision"] != "int8":  # there a random model has outliers in almost every column, a trained one in few
        assert estimate.weights_bytes == measured["weights"]
        missed = measured["prefill_peak_bytes"] - allocated(estimate)
        above = measured["allocated_peak_bytes"] - measured["weights"]
        assert abs(missed) <= max(WORKSPACE_BYTES, 0.06 * above)
    assert estimate.cache_bytes == measured["cache"]
    if "process_peak_bytes" in measured:
        assert estimate.low_bytes <= measured["process_peak_bytes"] <= estimate.high_bytes


def test_llama_is_exact_and_the_median_small() -> None:
    errors = []
    for param in ROWS:
        (row,) = param.values
        if row["precision"] != "fp16":
            continue
        measured = row["measured"]
        missed = abs(measured["prefill_peak_bytes"] - allocated(estimated(row)))
        if row["model"] == "llama-3.1-8b":
            assert missed < MIB / 10
        errors.append(missed / (measured["allocated_peak_bytes"] - measured["weights"]))
    assert median(errors) < 0.01


def test_nothing_is_unpacked_where_nothing_is_quantised() -> None:
    catalog = load_catalog()
    falcon = resolve_model("falcon-7b", catalog, offline=True).spec  # its linear layers are a class of their own
    assert falcon is not None
    card = catalog_machine(catalog.devices["h100-sxm5-80gb"], 1)
    peaks = {
        name: estimate_for(falcon, name, Workload(context_tokens=1024, sequences=1), card, catalog).peak_bytes
        for name in ("fp16", "int8", "int4")
    }
    assert len(set(peaks.values())) == 1


def test_products_in_int32_are_said_where_they_outweigh_what_8_bits_save() -> None:
    catalog = load_catalog()
    llama = resolve_model("llama-3.1-8b", catalog, offline=True).spec
    assert llama is not None
    card = catalog_machine(catalog.devices["h100-sxm5-80gb"], 1)
    short, long = (
        estimate_for(llama, "int8", Workload(context_tokens=tokens, sequences=8), card, catalog)
        for tokens in (512, 131072)
    )
    assert not any("int32" in text for text in short.warnings)
    assert any("int32" in text for text in long.warnings)
