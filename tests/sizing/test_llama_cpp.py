"""llama.cpp's rules: published logs, buffers that it reports itself, and the properties that every engine has."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import gguf_sizes
from benchmarks.gguf_sizes import Score, layout, load, machine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Device, Machine, catalog_machine
from fmkit.sizing.engines.llama_cpp import plan
from fmkit.sizing.engines.llama_cpp_cache import device_layers
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.sizing.engines.plan import Plan, total
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB, MIB
from tests.gguf_file import write_model

MISTRAL = "mistralai--Mistral-7B-v0.1"
GEMMA = "google--gemma-3-27b-it"
GPU = machine(1)
CPU = Machine(
    name="CPU", origin="catalog", count=1, memory_bytes=64 * GIB, usable_bytes=60 * GIB,
    device=Device(id="c", name="CPU", vendor="cpu", device_class="cpu", memory_bytes=None, bandwidth_bytes_per_s=None),
)  # fmt: skip


def planned(
    config: str,
    file_type: str = "F16",
    context: int = 4096,
    sequences: int = 1,
    on: Machine = GPU,
    options: dict[str, str] | None = None,
) -> Plan:
    workload = Workload(context_tokens=context, sequences=sequences, options=options or {})
    return plan(load(config), layout(file_type), workload, on)


def mib(lines: Plan, part: str) -> float:
    every = (*lines.weights, *lines.cache, *lines.decode)
    return sum(line.bytes for line in every if line.part.startswith(part)) / MIB


SCORED = [(row["measurement_id"], row) for row in gguf_sizes.rows()]
MISSES = {
    "Me88d3b9b60": "compute buffer of Llama-3.2-3B in a build of another program: 10 % less",
    "M581fadbf4a": "compute buffer of Pythia-2.8B on CUDA: 6 % less; its feed-forward runs beside the attention",
}


def scores(part: str) -> list[Score]:
    found = [result for _, row in SCORED for result in gguf_sizes.score(row)]
    return [result for result in found if isinstance(result, Score) and result.part == part]


def test_published_weights() -> None:
    found = scores("weights")
    assert len(found) >= 220
    assert [result for result in found if abs(result.error) > 0.01] == []


def test_published_caches() -> None:
    found = scores("cache")
    assert len(found) >= 39
    assert [result for result in found if abs(result.error) > 1e-4] == []


def test_published_compute_buffers() -> None:
    found = scores("compute buffer")
    assert len(found) >= 33
    assert {result.row for result in found if abs(result.error) > 0.05} == set(MISSES)


def test_enough_rows_are_scored() -> None:
    scored = sum(any(isinstance(result, Score) for result in gguf_sizes.score(row)) for _, row in SCORED)
    assert scored >= 0.8 * len(SCORED)


@pytest.mark.parametrize(("file", "within_a_percent"), [("compute_buffers.csv", 46), ("held_out_buffers.csv", 13)])
def test_compute_buffers_that_llama_cpp_reports(file: str, within_a_percent: int) -> None:
    found = gguf_sizes.reported_buffers(file)
    beyond = {result.row for result in found if abs(result.error) > 0.05}
    assert beyond <= {"microsoft--Phi-mini-MoE-instruct, flash attention on"}  # 7 % less
    assert sum(abs(result.error) <= 0.01 for result in found) >= within_a_percent


def test_mistral_keeps_everything() -> None:
    assert mib(planned(MISTRAL, context=32768), "cache") == 4096  # converted to `llama`, whose windows are ignored


def test_gemma_keeps_window_and_micro_batch() -> None:
    found = planned(GEMMA, context=131072)
    local, everywhere = (line.bytes for line in sorted(found.cache, key=lambda line: line.bytes))
    assert local == 52 * (1024 + 512) * 2 * 16 * 128 * 2
    assert everywhere == 10 * 131072 * 2 * 16 * 128 * 2
    assert total(planned(GEMMA, context=131072, options={"swa_full": "on"}).cache) == 62 * 131072 * 2 * 16 * 128 * 2


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 1), ({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 17 / 32), ({"cache_type_k": "q4_0", "cache_type_v": "q4_0"}, 9 / 32),
     ({"cache_type_k": "q8_0"}, 49 / 64)],
)  # fmt: skip
def test_cache_types(options: dict[str, str], share: float) -> None:
    assert mib(planned("meta-llama--Meta-Llama-3.1-8B", context=8192, options=options), "cache") == 1024 * share


def test_cells_are_padded_per_sequence() -> None:
    assert mib(planned("Qwen--Qwen3-4B", context=1024, sequences=16), "cache") == 2304  # a published log
    assert mib(planned("Qwen--Qwen3-4B", context=1), "cache") == mib(planned("Qwen--Qwen3-4B", context=256), "cache")


def test_latent_cache_has_no_values() -> None:
    assert mib(planned("deepseek-ai--DeepSeek-R1", "Q4_K_M", context=8192), "cache") == 549  # a published log


def test_recurrent_state_is_float32() -> None:
    assert (
        mib(planned("state-spaces--mamba-1.4b-hf", context=32768), "cache") == 14.25
    )  # a published log, and reported here


def test_embedding_stays_with_the_host() -> None:
    found = planned("meta-llama--Meta-Llama-3-8B", "Q4_K_M")
    assert mib(found, "weights") == pytest.approx(4403.49, abs=0.01)  # a published log
    host = next(line for line in found.weights if line.part == "weights: left with the host")
    assert host.bytes == 0
    assert "281.8 MiB" in host.reason


def test_tied_embedding_is_held_twice() -> None:
    found = planned("Qwen--Qwen3-4B", "Q4_K_M")
    assert mib(found, "weights") == pytest.approx(
        2375.91, abs=0.01
    )  # a published log: CUDA0; 304.28 more with the host


def test_shared_memory_holds_all() -> None:
    studio = next(device for device in load_catalog().devices.values() if device.vendor == "apple")
    found = planned("meta-llama--Meta-Llama-3-8B", "Q4_K_M", on=catalog_machine(studio, 1))
    assert mib(found, "weights") == pytest.approx(4403.49 + 281.81, abs=0.02)


def test_layers_split_between_device_and_host() -> None:
    everything, half = (
        planned("meta-llama--Meta-Llama-3-8B", "Q8_0"),
        planned("meta-llama--Meta-Llama-3-8B", "Q8_0", options={"gpu_layers": "17"}),
    )
    assert mib(half, "cache") == mib(everything, "cache") / 2
    assert mib(half, "weights: feed") == mib(everything, "weights: feed") / 2
    assert mib(half, "weights: output") == mib(everything, "weights: output")
    assert "16 of 32 layers stay in the host's memory" in half.warnings[0]
    assert mib(planned("meta-llama--Meta-Llama-3-8B", "Q8_0", options={"gpu_layers": "0"}), "weights") == 0
    assert device_layers(32, 99).first == 0


def test_repacked_copies_on_a_cpu() -> None:
    found = planned("TinyLlama--TinyLlama-1.1B-Chat-v1.0", "Q4_K_M", on=CPU)
    assert mib(found, "weights: repacked") == pytest.approx(455.06, abs=0.01)  # reported by llama.cpp b11549
    assert mib(planned("TinyLlama--TinyLlama-1.1B-Chat-v1.0", "Q8_0", on=CPU), "weights: repacked") == 0
    assert (
        mib(
            planned("TinyLlama--TinyLlama-1.1B-Chat-v1.0", "Q4_K_M", on=CPU, options={"repack": "off"}),
            "weights: repacked",
        )
        == 0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": "16"}, "unknown option"), ({"cache_type_k": "int3"}, "cache type"), ({"ubatch": "0"}, "ubatch|whole"),
        ({"swa_full": "perhaps"}, "swa_full"), ({"outputs": "some"}, "outputs"), ({"gpu_layers": "-1"}, "whole"),
        ({"cache_type_v": "q8_0", "flash_attention": "off"}, "flash attention"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings_from(options)


@pytest.mark.parametrize("config", [MISTRAL, GEMMA, "openai--gpt-oss-20b", "state-spaces--mamba-1.4b-hf"])
def test_bytes_never_fall(config: str) -> None:
    catalog = load_catalog()
    engine = catalog.engines["llama.cpp"]
    spec = load(config)

    def peak(precision: str, context: int, sequences: int) -> int:
        workload = Workload(context_tokens=context, sequences=sequences)
        chosen = catalog.layouts[engine.layouts[precision]]
        found = estimate(spec, engine, chosen, precision, workload, GPU)
        assert sum(line.bytes for line in found.lines) == found.peak_bytes
        assert found.low_bytes <= found.peak_bytes <= found.high_bytes
        return found.peak_bytes

    contexts = [1, 100, 255, 256, 257, 4096, 5000, 131072]
    by_context = [peak("q4_k_m", context, 1) for context in contexts]
    assert by_context == sorted(by_context)
    by_sequences = [peak("q4_k_m", 1000, count) for count in (1, 2, 3, 8)]
    assert by_sequences == sorted(by_sequences)
    by_bits = [peak(name, 4096, 1) for name in ("q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "q8_0", "fp16", "fp32")]
    assert by_bits == sorted(by_bits)


_LOAD = """
import os, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.warmup, params.fit_params, params.verbosity = int(sys.argv[2]), 1, False, False, 4
try:
    xllamacpp.Server(params)
finally:
    os._exit(0)
"""


def _log_until_compute_buffer(path: Path, context: int) -> str:
    """The start-up log; the process is ended as soon as it has said what we ask."""
    command = [sys.executable, "-c", _LOAD, str(path), str(context)]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            lines.append(line)
            if "compute buffer size" in line:
                run.kill()
                break
    return "".join(lines)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed (pip install xllamacpp, 102 MB)")
@pytest.mark.parametrize(
    ("config", "file_type", "context"),
    [
        ("HuggingFaceTB--SmolLM2-135M-Instruct", "F16", 4096),
        ("HuggingFaceTB--SmolLM2-135M-Instruct", "Q4_0", 4096),
        ("HuggingFaceTB--SmolLM2-135M-Instruct", "Q8_0", 16384),
        ("TinyLlama--TinyLlama-1.1B-Chat-v1.0", "Q4_K_M", 2048),
        ("google--gemma-3-1b-it", "Q4_K_M", 4096),
    ],
)
def test_what_llama_cpp_itself_reports(config: str, file_type: str, context: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, load(config), file_type)
    log = _log_until_compute_buffer(path, context)
    found = planned(config, file_type, context, on=CPU)

    def reported(pattern: str) -> float:
        return sum(float(size) for size in re.findall(rf"{pattern} buffer size =\s+([\d.]+) MiB", log))

    assert reported("CPU KV") == pytest.approx(mib(found, "cache"), abs=0.02), log[-2000:]
    assert reported("CPU_Mapped model") == pytest.approx(
        mib(found, "weights") - mib(found, "weights: repacked"), abs=0.02
    )
    assert reported("CPU_REPACK model") in (
        0.0,  # no AVX2
        pytest.approx(mib(found, "weights: repacked"), abs=0.02),
    )
    assert reported("CPU compute") == pytest.approx(mib(found, "activations: compute"), rel=0.05)


def test_the_catalog_knows_the_engine() -> None:
    engine = load_catalog().engines["llama.cpp"]
    layouts = load_catalog().layouts
    assert [layouts[engine.layouts[name]].file_type for name in ("fp16", "int8", "int4")] == ["F16", "Q8_0", "Q4_K_M"]
