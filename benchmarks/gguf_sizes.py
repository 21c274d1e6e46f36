"""GGUF files and llama.cpp's buffers: predicted against published files and buffers that it reports itself.

    python benchmarks/gguf_sizes.py

Files: the eight published sizes of Llama-3.1-8B differ from the predicted data sections by one number, the header. Buffers: what
llama.cpp b11549 reports on a CPU (tests/fixtures/gguf/compute_buffers.csv, on which the rules were fitted, and held_out_buffers.csv).
Published start-up logs are in benchmarks/memory_accuracy.py.
"""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fmkit.machine import Device, Machine
from fmkit.model.architectures import read
from fmkit.model.gguf_mix import mixed
from fmkit.model.precision import Layout
from fmkit.sizing.engines.llama_cpp_cache import LlamaCppCache
from fmkit.sizing.engines.llama_cpp_compute import ComputeBuffer
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.sizing.estimate import Workload
from fmkit.units import GIB, MIB

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "gguf"

PUBLISHED = {
    "Q2_K": 3_179_136_416, "Q3_K_S": 3_664_504_224, "Q3_K_M": 4_018_922_912, "Q3_K_L": 4_321_961_376, "IQ4_XS": 4_447_667_616,
    "Q4_K_M": 4_920_739_232, "Q5_K_M": 5_732_992_416, "Q8_0": 8_540_775_840,
}  # fmt: skip
"""Bytes of the files of bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, made with an importance matrix."""


class Score(NamedTuple):
    """One figure of one row: predicted over measured, less one."""

    row: str
    part: str
    error: float


def load(name: str) -> ModelSpec:
    """The spec of a config of the catalog or of the fixtures."""
    folders = (ROOT / "catalog" / "configs", FIXTURES / "configs", ROOT / "tests" / "fixtures" / "configs")
    folder = next(path for path in folders if (path / f"{name}.json").exists())
    return read(json.loads((folder / f"{name}.json").read_text()), where=name)


def layout(file_type: str) -> Layout:
    return Layout(name=file_type, weight_bits=None, rest_dtype="float16", source="here", file_type=file_type)


def machine(count: int) -> Machine:
    """A device with memory of its own: where the weights lie does not depend on which."""
    card = Device(
        id="x", name="X", vendor="nvidia", device_class="consumer", memory_bytes=80 * GIB, bandwidth_bytes_per_s=None
    )
    return Machine(name="X", origin="catalog", device=card, count=count, memory_bytes=80 * GIB, usable_bytes=80 * GIB)


def file_sizes() -> None:
    spec = load("meta-llama--Meta-Llama-3.1-8B")
    print("Llama-3.1-8B: published file - predicted data section")
    for file_type, size in PUBLISHED.items():
        data = sum(entry.bytes for entry in mixed(spec, file_type, imatrix=True))
        print(f"  {file_type:8} {size:>14,} - {data:>14,} = {size - data:,}")


def reported_buffers(file: str) -> list[Score]:
    """Errors of the compute buffer against what llama.cpp reports on a CPU."""
    found = []
    with (FIXTURES / file).open(newline="") as stream:
        for row in csv.DictReader(stream):
            options = {"flash_attention": row["flash_attention"], "ubatch": row.get("ubatch", "512")}
            workload = Workload(
                context_tokens=int(row.get("context", 4096)), sequences=int(row.get("sequences", 1)), options=options
            )
            spec, settings = load(row["config"]), settings_from(options)
            cache = LlamaCppCache(spec)
            predicted, _ = ComputeBuffer(spec, cache, on_cpu=True).bytes(
                cache.kept(workload, settings), workload, settings, devices=1
            )
            error = predicted / (float(row["compute_mib"]) * MIB) - 1
            found.append(Score(f"{row['config']}, flash attention {row['flash_attention']}", "compute buffer", error))
    return found


def main() -> None:
    file_sizes()
    print("\ncompute buffers reported by llama.cpp b11549 on a CPU")
    for file, noun in (("compute_buffers.csv", "fitted on"), ("held_out_buffers.csv", "held out")):
        reported = reported_buffers(file)
        print(f"  {noun:10} {_summary([one.error for one in reported])}")
        for one in sorted(reported, key=lambda one: -abs(one.error))[:2]:
            print(f"      {one.row} {one.error:+.2%}")


def _summary(errors: list[float]) -> str:
    sizes = sorted(abs(error) for error in errors)
    within = {limit: sum(size <= limit for size in sizes) for limit in (0.01, 0.05)}
    return (
        f"n {len(sizes)}, median {statistics.median(sizes):.2%}, 90th {sizes[int(0.9 * (len(sizes) - 1))]:.2%}, worst {sizes[-1]:.2%}; "
        f"within 1 %: {within[0.01]}, within 5 %: {within[0.05]}"
    )


if __name__ == "__main__":
    main()
