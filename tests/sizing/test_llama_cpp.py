"""llama.cpp's rules: buffers that it reports itself, and the properties that every engine has.

Published logs are held against them in tests/api/accuracy.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from benchmarks import gguf_sizes
from benchmarks.gguf_sizes import layout, load, machine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Device, Machine, catalog_machine
from fmkit.model.architectures import read
from fmkit.sizing.engines.llama_cpp import LlamaCppModel
from fmkit.sizing.engines.llama_cpp_cache import device_layers
from fmkit.sizing.engines.llama_cpp_devices import fewest_cpu_experts, most_layers, place
from fmkit.sizing.engines.llama_cpp_options import settings_from
from fmkit.sizing.engines.plan import Plan, total
from fmkit.sizing.estimate import EXPERTS_WITH_HOST, MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB, MIB
from tests.gguf_file import write_model
from tests.sizing.real_models import config_of

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
    return LlamaCppModel(load(config)).at(layout(file_type)).plan(workload, on)


def mib(lines: Plan, part: str) -> float:
    every = (*lines.weights, *lines.cache, *lines.decode)
    return sum(line.bytes for line in every if line.part.startswith(part)) / MIB


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
    host = next(line for line in found.host if line.part == "weights: left with the host")
    assert host.bytes / MIB == pytest.approx(281.81, abs=0.01)  # the same log: CPU buffer


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
    host = {line.part: line.bytes / MIB for line in half.host}
    assert host["cache: left with the host"] == mib(half, "cache")
    assert host["weights: left with the host"] + mib(half, "weights") == pytest.approx(
        mib(everything, "weights") + everything.host[0].bytes / MIB
    )
    assert mib(planned("meta-llama--Meta-Llama-3-8B", "Q8_0", options={"gpu_layers": "0"}), "weights") == 0
    assert device_layers(32, 99)[0].first == 0


@pytest.mark.parametrize(
    ("devices", "weights_mib", "cache_mib"),
    [
        # load logs of Llama-3-8B Q4_K_M at 8192 tokens on RTX 3090 and 4090 (XiongjieDai/GPU-Benchmarks-on-LLM-Inference at aa72e0ec86c3)
        (2, [2113.28, 2290.21], [544, 480]), (4, [1130.62, 982.66, 982.66, 1307.55], [288, 256, 256, 224]),
        (6, [764.06, 616.09, 733.12, 616.09, 733.12, 940.99], [192, 160, 192, 160, 192, 128]),
        (8, [647.03, 483.59, 483.59, 499.06, 483.59, 499.06, 499.06, 808.49], [160, 128, 128, 128, 128, 128, 128, 96]),
    ],
)  # fmt: skip
def test_layers_over_several_devices_are_the_logged_ones(
    devices: int, weights_mib: list[float], cache_mib: list[float]
) -> None:
    options = {"flash_attention": "off"}
    whole = LlamaCppModel(load("meta-llama--Meta-Llama-3-8B")).at(layout("Q4_K_M"))
    found = place(whole, Workload(context_tokens=8192, options=options), machine(devices))
    # in order of size: of eight devices two neighbours are the other way round, as an older quantiser numbered the layers
    assert sorted(mib(each.plan, "weights") for each in found.devices) == pytest.approx(sorted(weights_mib), abs=0.02)
    assert [mib(each.plan, "cache") for each in found.devices] == cache_mib
    assert mib(found.devices[0].plan, "activations: compute") == pytest.approx(640.02, rel=0.001) or devices > 4
    host = {line.part: line.bytes / MIB for line in found.devices[0].plan.host}
    assert host["weights: left with the host"] == pytest.approx(281.81, abs=0.01)
    if devices == 2:
        assert host["activations: inputs"] == pytest.approx(72.02, abs=0.03)


@pytest.mark.parametrize(
    ("config", "context", "options", "logged_mib"),
    [
        ("meta-llama--Meta-Llama-3-8B", 8192, {"flash_attention": "off"}, 24.01), ("meta-llama--Meta-Llama-3-8B", 512, {}, 9.01),
        ("Qwen--Qwen2.5-7B-Instruct", 4096, {}, 15.01), ("EleutherAI--pythia-2.8b", 2048, {"flash_attention": "off"}, 9.01),
    ],
)  # fmt: skip
def test_inputs_held_by_the_host_are_the_logged_ones(
    config: str, context: int, options: dict[str, str], logged_mib: float
) -> None:
    found = planned(config, context=context, options=options)
    inputs = next(line for line in found.host if line.part == "activations: inputs")
    assert inputs.bytes / MIB == pytest.approx(logged_mib, abs=0.02)


def test_auto_takes_as_many_layers_as_leave_a_gibibyte_free() -> None:
    card = catalog_machine(load_catalog().devices["rtx-4060"], 1)
    whole = LlamaCppModel(load("meta-llama--Meta-Llama-3-8B")).at(layout("Q8_0"))
    workload = Workload(context_tokens=8192, options={"gpu_layers": "auto"})

    def needed(options: dict[str, str]) -> int:
        found = place(whole, Workload(context_tokens=8192, options=options), card).devices[0].plan
        return total((*found.weights, *found.cache, *found.decode))

    count = most_layers(whole, workload, card, 1)
    assert count is not None
    assert needed({"gpu_layers": str(count)}) + GIB <= card.usable_bytes < needed({"gpu_layers": str(count + 1)}) + GIB
    assert needed({"gpu_layers": "auto"}) == needed({"gpu_layers": str(count)})


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
        ({"block_size": "16"}, "unknown option"), ({"cache_type_k": "int3"}, "cache_type_k"), ({"ubatch": "0"}, "ubatch|whole"), ({"ubatch": "9" * 6000}, "whole"),
        ({"swa_full": "perhaps"}, "swa_full"), ({"outputs": "some"}, "outputs"), ({"gpu_layers": "-3"}, "whole"),
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


@pytest.mark.parametrize(
    ("config", "layers", "context", "sequences", "reported"),
    [
        # buffers that llama.cpp b11549 reports on a CPU for files of these shapes: model, KV, recurrent state, compute
        ("sentence-transformers--all-MiniLM-L6-v2", 0, 512, 1, (43.48, 0, 0, 7.26)),
        ("google-bert--bert-base-uncased", 0, 512, 1, (208.68, 0, 0, 14.01)),
        ("google-bert--bert-large-uncased", 0, 512, 1, (638.85, 0, 0, 18.51)),
        ("google-bert--bert-large-uncased", 0, 2048, 1, (638.85, 0, 0, 80.05)),
        ("LiquidAI--LFM2-1.2B", 0, 1024, 4, (2232.50, 48.00, 0.62, 69.02)),
        ("tiiuae--Falcon-H1-7B-Base", 3, 2048, 1, (2406.71, 6.00, 9.12, 104.02)),
        ("tiiuae--Falcon-H1-7B-Base", 3, 2048, 3, (2406.71, 18.00, 27.37, 104.22)),
    ],
)
def test_encoders_and_hybrids_as_reported(
    config: str, layers: int, context: int, sequences: int, reported: tuple[float, ...]
) -> None:
    raw = config_of(config)
    spec = read(raw | {"num_hidden_layers": layers} if layers else raw, where=config)
    workload = Workload(context_tokens=context, sequences=sequences)
    found = LlamaCppModel(spec).at(layout("F16")).plan(workload, CPU)
    kinds = {line.part: line.bytes / MIB for line in found.cache}
    state = kinds.pop("cache: recurrent state", 0.0)
    ours = (mib(found, "weights"), sum(kinds.values()), state, mib(found, "activations: compute"))
    assert ours == pytest.approx(reported, rel=0.003, abs=0.01)


def test_the_projector_file_is_counted_where_images_are_asked_for() -> None:
    card = catalog_machine(load_catalog().devices["rtx-4090"], 1)
    whole = LlamaCppModel(load("google--gemma-3-4b-it")).at(layout("Q4_K_M"))
    without = place(whole, Workload(context_tokens=4096), card).devices[0].plan
    found = place(whole, Workload(context_tokens=4096, images=1), card).devices[0].plan
    assert mib(found, "weights: mmproj") == pytest.approx(811.79, abs=0.01)  # "model size" of clip in the log of b11549
    assert mib(without, "weights: mmproj") == 0
    assert "--images 1" in without.warnings[0]


_LOAD = """
import os, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.embedding = sys.argv[3] == "encoder"
params.n_ctx, params.n_parallel, params.warmup, params.fit_params, params.verbosity = int(sys.argv[2]), 1, False, False, 4
try:
    xllamacpp.Server(params)
finally:
    os._exit(0)
"""


def _log_until_compute_buffer(path: Path, context: int, kind: str) -> str:
    """The start-up log; the process is ended as soon as it has said what we ask."""
    command = [sys.executable, "-c", _LOAD, str(path), str(context), kind]
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
        ("sentence-transformers--all-MiniLM-L6-v2", "F16", 512),
        pytest.param("LiquidAI--LFM2-1.2B", "F16", 4096, marks=pytest.mark.full),
    ],
)
def test_what_llama_cpp_itself_reports(config: str, file_type: str, context: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, load(config), file_type)
    log = _log_until_compute_buffer(path, context, load(config).kind)
    found = planned(config, file_type, context, on=CPU)

    def reported(pattern: str) -> float:
        return sum(float(size) for size in re.findall(rf"{pattern} buffer size =\s+([\d.]+) MiB", log))

    kept = reported("CPU KV") + reported("CPU RS")
    assert kept == pytest.approx(mib(found, "cache"), abs=0.02), log[-2000:]
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


def test_pages_that_may_be_dropped_do_not_decide_what_fits() -> None:
    """Repacked matrices are held by their copies; the pages of the file that they came from are read once."""
    catalog, spec = load_catalog(), load("TinyLlama--TinyLlama-1.1B-Chat-v1.0")

    def on(usable_bytes: int) -> MemoryEstimate:
        machine = msgspec.structs.replace(CPU, usable_bytes=usable_bytes)
        chosen = catalog.layouts[catalog.engines["llama.cpp"].layouts["q4_k_m"]]
        return estimate(spec, catalog.engines["llama.cpp"], chosen, "q4_k_m", Workload(context_tokens=4096), machine)

    found = on(60 * GIB)
    assert found.droppable_bytes / MIB == pytest.approx(455.06, abs=0.01)
    assert on((found.needed_bytes + found.peak_bytes) // 2).fits
    less = on(found.needed_bytes - MIB)
    assert less.fits is False
    assert less.short_bytes == MIB


@pytest.mark.parametrize(
    ("config", "file_type"),
    [("allenai--OLMoE-1B-7B-0924", "Q4_K_M"), pytest.param("openai--gpt-oss-20b", "MXFP4_MOE", marks=pytest.mark.full)],
)
def test_experts_kept_by_the_host_are_the_tensors_that_llama_cpp_overrides(
    config: str, file_type: str, tmp_path: Path
) -> None:
    """Held against the tensors of a file as the gguf package lists them, and the pattern of --n-cpu-moe (llama.cpp common/common.h)."""
    gguf = pytest.importorskip("gguf")
    path, kept = tmp_path / "model.gguf", 5
    write_model(path, load(config), file_type)
    pattern = re.compile(rf"^blk\.[0-{kept - 1}]\.ffn_(up|down|gate|gate_up)_(ch|)exps")
    listed = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    experts = sum(size for name, size in listed.items() if pattern.match(name))
    whole, found = planned(config, file_type), planned(config, file_type, options={"n_cpu_moe": str(kept)})
    (line,) = (line for line in found.host if line.part == EXPERTS_WITH_HOST)
    assert line.bytes == experts > 0
    assert total(whole.weights) - total(found.weights) == experts
    assert total(found.weights) == sum(listed.values()) - experts - listed["token_embd.weight"]
    assert (found.cache, total(found.decode) > total(whole.decode)) == (whole.cache, True)


def test_as_few_experts_as_are_enough_stay_with_the_host() -> None:
    card = catalog_machine(load_catalog().devices["rtx-4090"], 1)
    whole = LlamaCppModel(load("openai--gpt-oss-120b")).at(layout("MXFP4_MOE"))

    def needed(experts: str) -> int:
        found = place(whole, Workload(context_tokens=8192, options={"n_cpu_moe": experts}), card).devices[0].plan
        return total((*found.weights, *found.cache, *found.decode))

    count = fewest_cpu_experts(whole, Workload(context_tokens=8192), card, 1)
    assert 0 < count < 36
    assert needed(str(count)) + GIB <= card.usable_bytes < needed(str(count - 1)) + GIB
    assert needed("auto") == needed(str(count))
    assert needed("all") == needed("36") < needed(str(count))


def test_experts_of_every_device_lie_with_the_one_host() -> None:
    whole = LlamaCppModel(load("openai--gpt-oss-20b")).at(layout("MXFP4_MOE"))
    found = place(whole, Workload(context_tokens=4096, options={"n_cpu_moe": "20"}), machine(2))
    alone = planned("openai--gpt-oss-20b", "MXFP4_MOE", options={"n_cpu_moe": "20"})
    assert sum(total(each.plan.weights) for each in found.devices) == total(alone.weights)
    lines = [line for each in found.devices for line in each.plan.host if line.part == EXPERTS_WITH_HOST]
    assert [line.bytes for line in lines] == [line.bytes for line in alone.host if line.part == EXPERTS_WITH_HOST]
