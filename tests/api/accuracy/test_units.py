"""Sizes of published tables: the unit that a label means (trap 1 of such tables), and whether they are of one device or of all."""

from __future__ import annotations

import re
from functools import cache

import pytest

from fmkit.api.accuracy.comparison import Comparison
from fmkit.api.accuracy.memory import memory_comparisons
from fmkit.api.accuracy.subject import spec_of
from fmkit.catalog.load import load_catalog
from fmkit.catalog.measurements import MemoryMeasurement, shipped_measurements
from fmkit.units import GIB, MIB

LARGE_BYTES = 10**10
"""Of a model from this size on, weights are nearly all of a peak at one token."""


@cache
def rows() -> tuple[MemoryMeasurement, ...]:
    return shipped_measurements().memory


def peaks_of(source: str) -> list[tuple[MemoryMeasurement, int, float]]:
    """A source's trusted rows of a peak, each with the bytes and the number that was printed."""
    return [
        (row, row.peak_total_bytes, float(printed[0]))
        for row in rows()
        if row.source.startswith(source) and row.trust in ("A", "B") and row.peak_total_bytes is not None
        if (printed := re.match(r"[\d.]+", row.reported)) is not None
    ]


@pytest.mark.parametrize(
    ("source", "label", "unit_bytes"),
    [("QwenLM/Qwen2.5@", "GB", GIB), ("QwenLM/Qwen3@", "MB", MIB), ("casper-hansen/AutoAWQ@", "GB", GIB), ("premAI-io/", "MB", MIB),
     ("ml-explore/mlx-lm@", "GB", 10**9), ("openvinotoolkit/openvino@", "MB", 10**6)],
)  # fmt: skip
def test_a_label_is_read_as_its_source_means_it(source: str, label: str, unit_bytes: int) -> None:
    found = peaks_of(source)
    assert len(found) >= 4
    for row, peak_bytes, printed in found:
        assert label in row.reported
        assert peak_bytes == pytest.approx(printed * unit_bytes, abs=1), row.measurement_id


@pytest.mark.parametrize(("source", "label_bytes"), [("QwenLM/Qwen2.5@", 10**9), ("QwenLM/Qwen3@", 10**6)])
def test_a_binary_size_under_a_decimal_label_is_told_by_the_weights(source: str, label_bytes: int) -> None:
    """A peak holds the weights and at one token little else: 62,751 "MB" of Qwen3-32B are less than its 65,524,246,528 bytes."""
    catalog, seen = load_catalog(), 0
    for row, peak_bytes, printed in peaks_of(source):
        weights_bytes = 2 * spec_of(row, catalog).params
        if (row.quant, row.prompt_tokens, row.count) != ("BF16", 1, 1) or weights_bytes < LARGE_BYTES:
            continue
        assert printed * label_bytes < weights_bytes <= peak_bytes < 1.06 * weights_bytes, row.measurement_id
        seen += 1
    assert seen == 3


def test_a_decimal_size_is_told_by_the_bits_of_the_weights() -> None:
    """mlx-lm's peaks of Qwen3-30B-A3B at 8 and at 4 bits differ by 4 bits a parameter, 15.27 GB; as GiB they would by 16.39."""
    peaks = {row.quant: (row, peak_bytes) for row, peak_bytes, _ in peaks_of("ml-explore/mlx-lm@")}
    (row, wide_bytes), (_, narrow_bytes) = peaks["MLX q8"], peaks["MLX q4"]
    assert wide_bytes - narrow_bytes == pytest.approx(spec_of(row, load_catalog()).params / 2, rel=0.005)


@pytest.mark.parametrize(("scope", "devices"), [("per GPU", 1), ("total", 2)])
def test_a_figure_of_one_device_is_not_of_all(scope: str, devices: int) -> None:
    """Llama-3.1-8B in bfloat16 over two devices: 16.06 GB in all, half on each beside norms and a rotary table that each has."""
    row = MemoryMeasurement(
        measurement_id="m", hub_id="meta-llama/Llama-3.1-8B-Instruct", quant="BF16", engine="vLLM", accelerator_id="rtx-4090",
        count=2, tp=2, scope=scope, weights_bytes=1, context_tokens=4096,
    )  # fmt: skip
    found = {
        one.quantity: one.predicted for one in memory_comparisons(row, load_catalog()) if isinstance(one, Comparison)
    }
    assert found["weights"] == pytest.approx(devices * 8_030_261_248, rel=0.005)
