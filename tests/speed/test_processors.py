"""Reading on processors: by their vector units in llama.cpp, and said to be unknown where nobody measured what tells it."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import pytest

import fmkit
from fmkit.api.accuracy.subject import gguf_subject, spec_of
from fmkit.api.processor_rates import rated
from fmkit.api.sizing import estimate_layout
from fmkit.catalog.load import Catalog, load_catalog
from fmkit.catalog.measurements import read_measurements
from fmkit.catalog.paths import source_folder
from fmkit.hardware.detect import detect
from fmkit.machine import Device, Machine, catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.results.vram import Estimate
from fmkit.sizing.estimate import Workload
from fmkit.speed.kernels import matrix_rate
from fmkit.units import GIB
from tests.api.test_measure import light, torch_rates

TIMED_HERE = Path(__file__).parents[2] / "benchmarks" / "results" / "speed_llama_cpp.json"
HERE = Machine(
    name="two cores", origin="detected", count=1, memory_bytes=64 * GIB, usable_bytes=60 * GIB, cpu_cores=2,
    cpu_formats=("float32", "bfloat16"),
    device=Device(id="this-machine", name="EPYC", vendor="cpu", device_class="cpu", memory_bytes=None, bandwidth_bytes_per_s=None),
)  # fmt: skip
"""The machine that llama.cpp was timed on, before anything of it was measured."""


class Timed(NamedTuple):
    """A prompt's rate that was measured, and the prediction with its range."""

    measured: float
    low: float
    median: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.measured <= self.high


def said(device: str, engine: str = "llama.cpp", precision: str = "int4") -> Estimate:
    found = fmkit.vram(
        "llama-3.1-8b", gpu=device, memory="64GiB", engine=engine, precision=precision, context="4k", offline=True
    )
    return found.estimates[0]


def first_token_s(device: str) -> float:
    speed = said(device).speed
    assert speed is not None
    assert speed.ttft_s is not None
    return speed.ttft_s.median


def predicted(
    catalog: Catalog, spec: ModelSpec, file_type: str, machine: Machine, prompt: int, sequences: int, measured: float
) -> Timed:
    layout = gguf_subject(spec, file_type, catalog).layout
    assert layout is not None
    workload = Workload(context_tokens=prompt + 16, sequences=sequences)
    found = estimate_layout(spec, "fp16", layout, workload, machine, catalog, engine="llama.cpp", prompt_tokens=prompt)
    assert found.speed is not None
    assert found.speed.prefill_tokens_per_s is not None
    rate = found.speed.prefill_tokens_per_s
    return Timed(measured, rate.low, rate.median, rate.high)


def published(catalog: Catalog) -> list[Timed]:
    rows = read_measurements(source_folder() / "measurements" / "published_cpu.csv").latency
    return [
        predicted(
            catalog,
            spec_of(row, catalog),
            row.quant,
            catalog_machine(catalog.devices[row.accelerator_id], 1, 64 * GIB),
            row.prompt_tokens or 0,
            1,
            row.prefill_tok_s or 0.0,
        )
        for row in rows
    ]


def timed(catalog: Catalog) -> list[Timed]:
    found = []
    for cell in json.loads(TIMED_HERE.read_text(encoding="utf-8"))["cells"]:
        spec = catalog.model(cell["model"]).spec
        assert spec is not None
        file_type, prompt = f"GGUF {cell['file_type']}", cell["prompt_tokens"]
        found.append(predicted(catalog, spec, file_type, HERE, prompt, cell["sequences"], cell["prefill_per_s"]))
    return found


def test_processors_that_the_fit_has_not_seen_read_as_predicted(catalog: Catalog) -> None:
    """Published rates of ten processors, none of them fitted to: the median is 19 % off, and four in five lie in their range."""
    found = published(catalog)
    errors = [abs(one.median / one.measured - 1) for one in found]
    assert len(found) >= 24
    assert median(errors) < 0.2
    assert sum(one.inside for one in found) >= 0.75 * len(found)


@pytest.mark.usefixtures("_nothing_kept")
def test_a_machine_that_no_fit_saw_reads_as_predicted_within_a_factor(catalog: Catalog) -> None:
    """Two cores of a shared host, known by their number alone: half of the rates inside their range, nine in ten within a factor of 2.2."""
    found = timed(catalog)
    inside = sum(one.inside for one in found)
    near = sum(1 / 2.2 <= one.median / one.measured <= 2.2 for one in found)
    assert len(found) >= 36
    assert inside >= len(found) / 2
    assert near >= 0.9 * len(found)


@pytest.fixture
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmkit.api.sizing.kept_here", lambda _: None)


def test_reading_goes_with_the_vector_units() -> None:
    """Eight cores of a kind take twice as long as sixteen, but for the clock; twice as wide units half as long."""
    eight, sixteen = first_token_s("ryzen-7-5800x"), first_token_s("ryzen-9-5950x")
    assert eight / sixteen == pytest.approx(2 * 4.9 / 4.7, rel=0.02)
    assert first_token_s("ryzen-9-7950x") / first_token_s("ryzen-9-9950x") == pytest.approx(2, rel=0.05)


def test_a_class_of_memory_says_what_would_tell_the_first_token() -> None:
    speed = said("cpu-desktop-ddr5-dual").speed
    assert speed is not None
    assert speed.ttft_s is None
    assert "name a processor (fmkit hardware list), or run fmkit hardware measure" in speed.reason


def test_one_processor_measured_with_pytorch_says_nothing_of_others() -> None:
    speed = said("ryzen-9-7950x", "transformers", "fp16").speed
    assert speed is not None
    assert speed.ttft_s is None
    assert "transformers was measured on one processor only" in speed.reason
    assert "run fmkit hardware measure" in speed.reason


def test_rates_of_pytorch_are_none_of_llama_cpp_on_a_processor() -> None:
    """What a product of PyTorch reaches here stands for PyTorch; llama.cpp's kernels are held against the vector units, assumed from the cores."""
    core = load_catalog().engines["llama.cpp"].cpu_core
    measured = rated(HERE, core, msgspec.structs.replace(light(), torch=(torch_rates(),)))
    assert measured is not None
    device = measured.device
    assert device is not None
    assert device.verified  # of the memory, which steps wait for
    assert device.sources["tflops"] == "assumed from 2 cores"
    assert matrix_rate(device, "16", "llama.cpp") == 2 * 0.112e12
    assert matrix_rate(device, "q4", "llama.cpp") == 2 * 2 * 0.112e12


@pytest.mark.parametrize(("threads", "per_core", "cores"), [(16, 1, 16), (16, 2, 8), (1, 2, 1)])
def test_threads_of_a_core_share_its_units(threads: int, per_core: int, cores: int) -> None:
    machine = msgspec.structs.replace(HERE, cpu_cores=threads, cpu_threads_per_core=per_core)
    found = rated(machine, load_catalog().engines["llama.cpp"].cpu_core)
    assert found is not None
    assert found.device is not None
    assert found.device.flops_per_s["vector"] == pytest.approx(cores * 0.112e12)


def test_only_the_cores_that_are_allowed_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert detect().cpu_cores == 1
