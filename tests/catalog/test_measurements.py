"""Faults of measurement files are found, and a good file has none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fmkit.catalog.checks.facts import Facts
from fmkit.catalog.checks.measurements import measurements as measurement_faults
from fmkit.catalog.links import link
from fmkit.catalog.measurements import shipped_measurements
from fmkit.catalog.paths import source_folder
from fmkit.catalog.sources import read_sources

HEADER = "measurement_id,hub_id,quant,engine,accelerator_id,weights_bytes,trust,source\n"
GOOD = "M1,openai-community/gpt2,BF16,vLLM,rtx-4090,100,A,somebody/repository@1:file\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The catalog without its configs' contents, and with one measurement."""
    shutil.copytree(source_folder(), tmp_path / "catalog", ignore=shutil.ignore_patterns("measurements", "scores"))
    (tmp_path / "catalog" / "measurements").mkdir()
    (tmp_path / "catalog" / "measurements" / "memory.csv").write_text(HEADER + GOOD)
    return tmp_path / "catalog"


def faults(folder: Path) -> list[str]:
    sources = read_sources(folder)
    return [str(fault) for fault in measurement_faults(Facts(sources, link(sources), {}))]


def test_a_good_file(folder: Path) -> None:
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD, "used twice"),
        (GOOD.replace("M1", "M2").replace(",100,", ",many,"), "can't be read"),
        (GOOD.replace("M1", "M3").replace(",A,", ",D,"), "trust is 'D'"),
        (GOOD.replace("M1", "M4").replace("somebody/repository@1:file", ""), "without a source"),
    ],
)
def test_a_bad_line(line: str, words: str, folder: Path) -> None:
    with (folder / "measurements" / "memory.csv").open("a") as stream:
        stream.write(line)
    assert any(words in fault for fault in faults(folder))


def test_names_that_lead_nowhere(folder: Path) -> None:
    measurements = folder / "measurements"
    (measurements / "same_shape.csv").write_text("hub_id,same_as,reason\na/b,no/such,made up\nc/d,gpt2,tuned\n")
    (measurements / "settings.csv").write_text(
        "measurement_id,options,layout,left_out,reason\nM9,,,all,made up\nM1,,nothing,,made up\n"
    )
    found = faults(folder)
    assert len(found) == 3
    assert all(any(name in fault for fault in found) for name in ("a/b", "M9", "nothing"))


PRINTED_UNITS = {
    "QwenLM/Qwen2.5": ("GB", 2**30), "QwenLM/Qwen3": ("MB", 2**20), "casper-hansen/AutoAWQ": ("GB", 2**30),
    "ml-explore/mlx-lm": ("GB", 10**9), "premAI-io/benchmarks": ("MB", 2**20), "openvinotoolkit/openvino": ("MB", 10**6),
    "github issue vllm-project/vllm#15676": ("GB", 2**30), "github pull vllm-project/vllm#3120": ("MB", 2**20),
}  # fmt: skip
"""What a source prints, and what it means by it: PyTorch divides by 1024 and calls it GB or MB, Apple's MLX and OpenVINO by 1000."""


@pytest.mark.parametrize("source", PRINTED_UNITS)
def test_printed_sizes_are_the_bytes_that_their_source_means(source: str) -> None:
    name, unit_bytes = PRINTED_UNITS[source]
    checked = 0
    for row in shipped_measurements().memory:
        printed = re.search(rf"(\d+(?:\.\d+)?) ?{name}\b", row.reported) if row.source.startswith(source) else None
        held = row.peak_total_bytes or row.weights_bytes
        if printed and held:
            checked += 1
            assert held == pytest.approx(float(printed[1]) * unit_bytes, rel=1e-6)
    assert checked
