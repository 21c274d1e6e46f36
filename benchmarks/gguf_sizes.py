"""GGUF files and llama.cpp's buffers: predicted against published and reported figures, by part, with the rows left out and why.

    python benchmarks/gguf_sizes.py

Files: the eight published sizes of Llama-3.1-8B differ from the predicted data sections by one number, the header. Buffers: what
llama.cpp b11549 reports on a CPU (tests/fixtures/gguf/compute_buffers.csv), and published logs (tests/fixtures/gguf/measured.csv).

What the figures do not prove: the rules of the compute buffer were fitted on these very models (three architectures have a correction
of their own), and 26 of the 33 published buffers are of one model in three settings. Logs do not say whether logits of the whole
micro-batch were reserved, as releases before 2026 did: where notes name neither date nor flash attention, the figure itself decided
(four rows). `whole device` takes the weights from the row, and tests cache, buffer and context together.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fmkit.errors import FmkitError
from fmkit.machine import Device, Machine
from fmkit.model.architectures import read
from fmkit.model.ggml import FILE_TYPES, TYPES
from fmkit.model.gguf_mix import mixed
from fmkit.model.precision import Layout
from fmkit.sizing.engines.llama_cpp import compute_buffer, plan
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.sizing.engines.plan import total
from fmkit.sizing.estimate import Workload
from fmkit.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "gguf"

PUBLISHED = {
    "Q2_K": 3_179_136_416, "Q3_K_S": 3_664_504_224, "Q3_K_M": 4_018_922_912, "Q3_K_L": 4_321_961_376, "IQ4_XS": 4_447_667_616,
    "Q4_K_M": 4_920_739_232, "Q5_K_M": 5_732_992_416, "Q8_0": 8_540_775_840,
}  # fmt: skip
"""Bytes of the files of bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, made with an importance matrix."""

SAME_SHAPE = {
    "CohereForAI/c4ai-command-r-v01": "CohereLabs--c4ai-command-r-v01",
    "Qwen/Qwen3-4B-Instruct-2507": "Qwen--Qwen3-4B",
    "google/gemma-2-2b-it": "google--gemma-2-2b",
    "prism-ml/Bonsai-8B": "Qwen--Qwen3-8B",
}
"""Configs of the same architecture for models whose own is not at hand."""

FILE_TYPES_BY_NAME = {**{f"GGUF {name}": name for name in FILE_TYPES}, "GGUF i1-Q4_K_M": "Q4_K_M"}


NATIVE_MXFP4 = "GGUF MXFP4 (F16 non-expert)"
CONTEXT_BYTES = 350 * MIB
"""What a driver's context takes beside the buffers (catalog/engines/llama.cpp.yaml)."""


class Score(NamedTuple):
    """One figure of one row: predicted over measured, less one."""

    row: str
    part: str
    error: float


def load(name: str) -> ModelSpec:
    """The spec of a config of the catalog or of the fixtures."""
    folder = next(
        path for path in (ROOT / "catalog" / "configs", FIXTURES / "configs") if (path / f"{name}.json").exists()
    )
    return read(json.loads((folder / f"{name}.json").read_text()), where=name)


def rows() -> list[dict[str, str]]:
    """The published measurements."""
    with (FIXTURES / "measured.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def layout(file_type: str) -> Layout:
    return Layout(name=file_type, weight_bits=None, rest_dtype="float16", source="here", file_type=file_type)


def native_mxfp4_bytes(spec: ModelSpec) -> int:
    """A file converted from gpt-oss as it is published: experts in MXFP4, the rest in 16 bit."""
    expert = TYPES["MXFP4"]
    return sum(
        expert.tensor_bytes(entry.tensor.dims) * entry.tensor.count if len(entry.tensor.dims) == 3 else entry.bytes
        for entry in mixed(spec, "F16")
    )


def machine(count: int) -> Machine:
    """A device with memory of its own: where the weights lie does not depend on which."""
    card = Device(
        id="x", name="X", vendor="nvidia", device_class="consumer", memory_bytes=80 * GIB, bandwidth_bytes_per_s=None
    )
    return Machine(name="X", origin="catalog", device=card, count=count, memory_bytes=80 * GIB, usable_bytes=80 * GIB)


def options_of(row: dict[str, str]) -> dict[str, str]:
    """The engine options that the row's notes tell of: logs of 2024 are without flash attention and with all logits."""
    notes = row["notes"].replace(" ", "")
    options = {}
    old = any(
        word in notes for word in ("flash-attnoff", "flash_attn=0", "n_batch512", "matchedwhole-GPU", "flash_attn=on")
    )
    if "flash-attnoff" in notes or "flash_attn=0" in notes:
        options["flash_attention"] = "off"
    if old or row["hub_id"] == "google/gemma-2-2b-it":
        options["outputs"] = "all"
    if row["kv_dtype"] not in {"", "f16"}:
        options |= {"cache_type_k": row["kv_dtype"], "cache_type_v": row["kv_dtype"]}
    if "256 cells" in row["notes"]:
        options["ubatch"] = "128"
    if "4 seqs" in row["notes"]:
        options["kv_unified"] = "on"
    return options


def score(row: dict[str, str]) -> Iterator[Score | str]:
    """The scores of a row, or the reasons why a figure is left out."""
    name = SAME_SHAPE.get(row["hub_id"], row["hub_id"].replace("/", "--"))
    try:
        spec = load(name)
    except StopIteration:
        yield "no config.json at hand"
        return
    except FmkitError as error:
        yield f"config not understood: {error.message}"
        return
    file_type = FILE_TYPES_BY_NAME.get(row["quant"])
    logged = bool(row["weights_host_bytes"] or row["kv_bytes"])
    sequences = 4 if "4 seqs" in row["notes"] else 1
    on_cpu = row["accelerator_id"].startswith("cpu")
    workload = Workload(
        context_tokens=max(1, int(row["context_tokens"] or 512) // sequences),
        sequences=sequences,
        options=options_of(row),
    )
    try:
        found = plan(spec, layout(file_type or "F16"), workload, None if on_cpu else machine(int(row["count"] or 1)))
        whole = sum(entry.bytes for entry in mixed(spec, file_type or "F16", imatrix="i1" in row["quant"]))
        if row["quant"] == NATIVE_MXFP4:
            file_type, whole = "MXFP4", native_mxfp4_bytes(spec)
    except FmkitError as error:
        yield f"not sized: {error.message[:60]}"
        return
    yield from _weights(row, file_type, total(found.weights), whole, logged=logged)
    state = int(row["recurrent_state_bytes"] or 0)
    kept = int(row["kv_bytes"] or 0) + state
    if kept:
        yield Score(row["measurement_id"], "cache", total(found.cache) / kept - 1)
    if row["peak_total_bytes"] and row["weights_bytes"]:
        predicted = int(row["weights_bytes"]) + total(found.cache) + total(found.decode) + CONTEXT_BYTES
        yield Score(row["measurement_id"], "whole device", predicted / int(row["peak_total_bytes"]) - 1)
    if "HTP" in row["notes"] or row["accelerator_id"] == "qualcomm-hexagon":
        yield "compute buffer not scored: four sessions of an NPU"
    elif row["activation_bytes"]:
        predicted, _ = compute_buffer(
            spec, workload, settings_from(workload.options), on_cpu=on_cpu, devices=int(row["count"] or 1)
        )
        measured = int(row["activation_bytes"]) / int(row["count"] or 1)
        yield Score(row["measurement_id"], "compute buffer", predicted / measured - 1)


def _weights(
    row: dict[str, str], file_type: str | None, on_device: int, whole: int, *, logged: bool
) -> Iterator[Score | str]:
    if not row["weights_bytes"]:
        return
    if file_type is None:
        yield f"weights not scored: the mix of {row['quant']!r} follows no rule"
        return
    yield Score(row["measurement_id"], "weights", (on_device if logged else whole) / int(row["weights_bytes"]) - 1)


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
            predicted, _ = compute_buffer(load(row["config"]), workload, settings_from(options), on_cpu=True)
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
    scores: dict[str, list[Score]] = defaultdict(list)
    reasons: dict[str, int] = defaultdict(int)
    scored_rows = 0
    measured = rows()
    for row in measured:
        results = list(score(row))
        scored_rows += any(isinstance(result, Score) for result in results)
        for result in results:
            if isinstance(result, Score):
                scores[result.part].append(result)
            else:
                reasons[result] += 1
    print(f"\npublished measurements of trust A and B: {len(measured)} rows, {scored_rows} with a figure scored")
    for part, found in scores.items():
        print(f"  {part:15} {_summary([result.error for result in found])}")
        for result in sorted(found, key=lambda result: -abs(result.error))[:3]:
            print(f"      {result.row} {result.error:+.2%}")
    print("left out")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  {count:4} {reason}")


def _summary(errors: list[float]) -> str:
    sizes = sorted(abs(error) for error in errors)
    within = {limit: sum(size <= limit for size in sizes) for limit in (0.01, 0.05)}
    return (
        f"n {len(sizes)}, median {statistics.median(sizes):.2%}, 90th {sizes[int(0.9 * (len(sizes) - 1))]:.2%}, worst {sizes[-1]:.2%}; "
        f"within 1 %: {within[0.01]}, within 5 %: {within[0.05]}"
    )


if __name__ == "__main__":
    main()
