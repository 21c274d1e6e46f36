"""The llama.cpp engine: files that the tests write, run through xllamacpp in the real child process, beside the estimate."""

from __future__ import annotations

import csv
import re
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fmkit.api import trial_plan
from fmkit.api.machines import resolve_machine
from fmkit.api.trial_gguf import placement_of
from fmkit.api.trial_measurements import memory_csv
from fmkit.api.trial_options import TrialOptions
from fmkit.api.trial_plan import plan_trial
from fmkit.api.trial_result import predicted_parts
from fmkit.api.try_model import try_model, try_sweep
from fmkit.catalog.load import load_catalog
from fmkit.errors import (
    DoesNotFitError,
    ExitCode,
    FmkitError,
    MissingExtraError,
    TrialFailedError,
    UnsafeInputError,
    UsageError,
)
from fmkit.results.trial import TrialResult
from fmkit.trial.engines.llama_cpp import LlamaCppEngine
from fmkit.trial.engines.llama_cpp_log import host_weight_bytes, load_error, logged_buffers, threads_in
from fmkit.trial.request import TrialRequest
from fmkit.trial.runner import run_in_child
from fmkit.units import GIB, MIB
from tests.gguf_file import write_model
from tests.trial.gguf_models import VOCAB, small_spec, write_running_model

if TYPE_CHECKING:
    from fmkit.api.trial_plan import Plan

SMOLLM = "HuggingFaceTB--SmolLM2-135M-Instruct"
QWEN = "Qwen--Qwen3-0.6B"
GEMMA = "google--gemma-3-1b-it"
MINILM = "sentence-transformers--all-MiniLM-L6-v2"
OLMOE = "allenai--OLMoE-1B-7B-0924"
NARROW: dict[str, Any] = {
    "num_hidden_layers": 12, "hidden_size": 128, "intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4,
}  # fmt: skip

PRINTED_MIB = 0.02
"""llama.cpp prints buffers to 0.01 MiB, and weights as up to two of them."""


def where_installed(test: Any) -> Any:
    absent = find_spec("xllamacpp") is None
    return pytest.mark.skipif(absent, reason="xllamacpp is not installed (pip install xllamacpp, 34 MB)")(test)


def needs_xllamacpp(test: Any) -> Any:
    """Runs llama.cpp, whose threads take all cores for seconds: a heavy proof."""
    return pytest.mark.full(where_installed(test))


@pytest.fixture(scope="module")
def smollm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_running_model(tmp_path_factory.mktemp("gguf") / "smollm.gguf", small_spec(SMOLLM), "Q8_0")


def tried(path: Path, **options: Any) -> TrialResult:
    return try_model(str(path), engine="llama.cpp", device="cpu", keep=False, offline=True, **options)


@where_installed
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "context", "file_type"),
    [
        (SMOLLM, 300, "Q8_0"),
        *(
            pytest.param(config, context, file_type, marks=pytest.mark.full)
            for config, context in ((SMOLLM, 300), (QWEN, 512), (GEMMA, 1100))
            for file_type in ("F16", "Q8_0", "Q4_K_M")
            if (config, file_type) != (SMOLLM, "Q8_0")
        ),
    ],
)
def test_buffers_are_the_predicted_ones(config: str, context: int, file_type: str, tmp_path: Path) -> None:
    path = write_running_model(tmp_path / "model.gguf", small_spec(config), file_type)
    found = tried(path, context=context, checks=["none"], repeat=1)
    missed = {part: (found.predicted[part] - found.measured[part]) / MIB for part in ("weights", "cache")}
    assert missed == {part: pytest.approx(0, abs=PRINTED_MIB) for part in missed}
    assert found.predicted["activations"] == pytest.approx(found.measured["activations"], rel=0.05)
    assert found.measured["process_peak_bytes"] > found.measured["cache"] + found.measured["process_baseline_bytes"]
    assert found.precision == "stored"
    row, *_ = csv.DictReader(StringIO(memory_csv([found])))
    assert (row["quant"], row["kv_dtype"]) == (f"GGUF {file_type}", "f16")
    assert len(found.output) > 10


@needs_xllamacpp
@pytest.mark.parametrize("context", [100, 512])
def test_an_encoder_embeds(context: int, tmp_path: Path) -> None:
    path = write_running_model(tmp_path / "model.gguf", small_spec(MINILM), "F16")
    found = tried(path, context=context, sequences=2, repeat=2)
    assert found.measured["weights"] == pytest.approx(found.predicted["weights"], abs=PRINTED_MIB * MIB)
    assert found.measured["activations"] == pytest.approx(found.predicted["activations"], rel=0.05)
    assert found.measured["cache"] == found.predicted["cache"] == 0
    assert found.speed.ttft_s is not None
    assert found.speed.ttft_s.n == 2
    assert found.speed.decode_tokens_per_s is None
    assert found.output.startswith("3 texts as vectors of 384 numbers")
    passed = {check.name for check in found.checks if check.passed}
    assert {"finite-logits", "embedding-symmetry", "deterministic"} <= passed


@needs_xllamacpp
def test_a_whole_trial(smollm: Path) -> None:
    found = tried(smollm, context=128, repeat=2)
    assert found.engine.name == "llama.cpp"
    assert found.engine.version.startswith("b")
    speed = found.speed
    assert speed.ttft_s is not None
    assert speed.prefill_tokens_per_s is not None
    assert speed.decode_tokens_per_s is not None
    assert speed.ttft_s.n == speed.prefill_tokens_per_s.n == speed.decode_tokens_per_s.n == 2
    timed = found.workload.timed_prompt_tokens
    assert timed is not None
    # the server's own rate leaves out what passes before it begins
    assert 0 < timed / speed.prefill_tokens_per_s.mean <= speed.ttft_s.mean * 1.001
    verdicts = {check.name: check.passed for check in found.checks}
    assert verdicts["deterministic"] is True
    assert verdicts["finite-logits"] is None
    assert verdicts["held-out-text"] is False  # random weights
    assert "server" in next(check.detail for check in found.checks if check.name == "finite-logits")


@needs_xllamacpp
def test_times_add_up_to_what_a_clock_outside_sees(smollm: Path) -> None:
    from fmkit.trial.engines.llama_cpp import LlamaCppEngine  # noqa: PLC0415  imports xllamacpp

    engine = LlamaCppEngine(request(smollm, context_tokens=512, decode_steps=128, repeat=2))
    engine.load()
    started = time.perf_counter()
    found = engine.timing()
    seen_s = time.perf_counter() - started
    told_s = sum(first_s + 127 / rate for first_s, rate in zip(found.ttft_s, found.decode_tokens_per_s, strict=True))
    assert told_s == pytest.approx(seen_s, rel=0.1)
    engine.recover()


@needs_xllamacpp
def test_a_sweep_loads_again_for_each_workload(smollm: Path) -> None:
    options = TrialOptions(engine="llama.cpp", device="cpu", keep=False, offline=True, checks=["none"], repeat=1)
    found = try_sweep(str(smollm), context=["64", "512"], sequences=[1, 3], options=options)
    assert not found.failed
    cells = {(one.workload.context_tokens, one.workload.sequences): one for one in found.trials}
    assert list(cells) == [(64, 1), (512, 1), (64, 3), (512, 3)]
    for one in cells.values():
        assert one.measured["cache"] == pytest.approx(one.predicted["cache"], abs=PRINTED_MIB * MIB)
        assert one.measured["activations"] == pytest.approx(one.predicted["activations"], rel=0.05)
        assert one.speed.decode_tokens_per_s is not None
    assert cells[512, 3].measured["cache"] == pytest.approx(6 * cells[64, 1].measured["cache"], rel=0.01)


@needs_xllamacpp
def test_a_prompt_that_does_not_fit_is_said(smollm: Path) -> None:
    found = tried(smollm, context=64, repeat=1, prompt="word " * 2000)
    assert "do not fit in the context" in found.output
    judged = {check.name: check.passed for check in found.checks if check.passed is not None}
    assert judged == {"held-out-text": False}  # random weights predict no text; it needs no prompt


def request(path: Path, **changes: Any) -> TrialRequest:
    facts = {"vocab_size": VOCAB, "chat_template": False}
    return TrialRequest(
        **{"model": path.name, "kind": "decoder", "config": facts, "dtype": "Q8_0", "context_tokens": 64, "folder": str(path),
           "engine": "llama.cpp", "repeat": 1, **changes}
    )  # fmt: skip


@needs_xllamacpp
def test_too_much_memory_is_said_to_be_that(smollm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = subprocess.Popen

    def limited(*arguments: Any, **options: Any) -> Any:
        bound = (4 * GIB, 4 * GIB)
        return original(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, bound), **options)

    monkeypatch.setattr(subprocess, "Popen", limited)
    with pytest.raises(TrialFailedError, match=r"out of memory while loading the model: .*allocate"):
        run_in_child(request(smollm, context_tokens=4_000_000))


@needs_xllamacpp
def test_an_engine_that_takes_too_long_is_ended(smollm: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TrialFailedError, match="took longer than 4 s"):
        run_in_child(request(smollm, context_tokens=4096, decode_steps=2048, repeat=100), timeout_s=4)
    assert time.monotonic() - started < 4 + 8


@needs_xllamacpp
def test_a_file_without_a_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    path.write_bytes(path.read_bytes().replace(b"blk.0.attn_q", b"blk.0.attn_x"))
    with pytest.raises(UnsafeInputError, match=r"can't load the file: .*blk\.0\.attn_q\.weight"):
        run_in_child(request(path))


def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util  # noqa: PLC0415

    known = find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else known(name))


def test_a_missing_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    without_library(monkeypatch)
    with pytest.raises(MissingExtraError, match="xllamacpp") as caught:
        tried(path)
    assert caught.value.exit_code == ExitCode.MISSING_EXTRA
    assert caught.value.next_command == "pip install 'fmkit[llama-cpp]'"


def test_files_and_options_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:1_000_000])
    cases: list[tuple[type[FmkitError], str, str, dict[str, Any]]] = [
        (UsageError, "gpt2", "runs GGUF files", {}),
        (UsageError, str(path), "as it is stored", {"precision": "int8"}),
        (UsageError, str(path), "random-weights", {"random_weights": True}),
        (UnsafeInputError, str(cut), "beyond the end of the file", {}),
        (DoesNotFitError, str(path), "What would fit: --context", {"context": 1_000_000_000}),
    ]
    for error, model, words, options in cases:
        with pytest.raises(error, match=words):
            try_model(model, engine="llama.cpp", device="cpu", keep=False, offline=True, **options)


def test_a_gguf_file_needs_no_engine_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    without_library(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"llama\.cpp"):
        try_model(str(path), keep=False, offline=True)


LOG = """
0.00.004.257 I cmn  common_param: system_info: n_threads = 6 (n_threads_batch = 6) / 12 | CPU : AVX2 = 1 |
0.00.304.879 I load_tensors:   CPU_Mapped model buffer size =    85.77 MiB
0.00.304.934 I load_tensors:        CUDA0 model buffer size =    56.95 MiB
0.00.360.740 I llama_context:  CUDA_Host  output buffer size =     0.19 MiB
0.00.360.857 I llama_kv_cache:      CUDA0 KV buffer size =    11.25 MiB
0.00.371.650 I sched_reserve:      CUDA0 compute buffer size =    15.14 MiB
0.00.371.650 I sched_reserve:  CUDA_Host compute buffer size =     2.14 MiB
"""


def test_buffers_of_a_device_and_of_the_host() -> None:
    device, host = logged_buffers(LOG, on_host=False), logged_buffers(LOG, on_host=True)
    assert device.total_bytes / MIB == pytest.approx(56.95 + 11.25 + 15.14)
    assert host.total_bytes / MIB == pytest.approx(85.77 + 0.19 + 2.14)
    assert threads_in(LOG) == 6
    with pytest.raises(TrialFailedError, match="no buffers on the device"):
        logged_buffers(LOG.replace("CUDA0", "CPU"), on_host=False)


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("0.1 E ggml_aligned_malloc: insufficient memory (attempted to allocate 87890.62 MB)", MemoryError, "87890"),
        ("0.1 E llama_model_load: error loading model: unknown model architecture: 'x'", TrialFailedError, "architecture 'x'"),
        ("0.1 E llama_model_load: error loading model: tensor 'a' data is not within the file bounds", UnsafeInputError, "bounds"),
        ("0.1 E srv init: something else", TrialFailedError, "something else"), ("0.1 I nothing wrong", TrialFailedError, "does not say why"),
    ],
)  # fmt: skip
def test_what_a_failed_load_means(line: str, kind: type[Exception], words: str) -> None:
    error = load_error(f"0.0 I loading\n{line}\n")
    assert type(error) is kind
    assert words in str(error)


def test_weights_beside_the_device() -> None:
    assert host_weight_bytes(LOG) / MIB == pytest.approx(85.77)
    bare = LOG.replace("CUDA0 model", "CPU model")
    assert logged_buffers(bare, on_host=False, layers=0).weights_bytes == 0
    assert host_weight_bytes(bare) / MIB == pytest.approx(85.77 + 56.95)


class Library:
    """Stands in for an xllamacpp that was built for a GPU."""

    class CommonParams:
        def __init__(self) -> None:
            self.model = SimpleNamespace()

    @staticmethod
    def get_device_info() -> list[dict[str, Any]]:
        return [{"description": "a card", "type": SimpleNamespace(name="GPU")}]


@pytest.mark.parametrize(("layers", "given"), [(None, -2), (3, 3), (0, 0)])
def test_layers_asked_for_reach_the_library(monkeypatch: pytest.MonkeyPatch, layers: int | None, given: int) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", Library)
    config = {"vocab_size": VOCAB, "chat_template": False}
    asked = TrialRequest(
        model="m", kind="decoder", config=config, dtype="Q8_0", context_tokens=256, engine="llama.cpp",
        device="cuda", gpu_layers=layers, folder="m.gguf",
    )  # fmt: skip
    assert LlamaCppEngine(asked).settings("m.gguf").n_gpu_layers == given


def planned(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *setting: str,
    device: str = "cuda",
    gpu: str = "rtx-4090",
    memory: str | None = None,
) -> Plan:
    catalog = load_catalog()
    card = resolve_machine(gpu, memory, catalog, memory_beside=True)
    monkeypatch.setattr(trial_plan, "machine_for", lambda *_: (card, device))
    return plan_trial(str(path), None, (256,), (1,), TrialOptions(engine="llama.cpp", engine_option=setting or None))


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """A file of twelve layers with eight experts each; the data are a hole."""
    path = tmp_path / "mixture.gguf"
    write_model(path, small_spec(OLMOE, **NARROW), "Q8_0")
    return path


def test_experts_off_the_gpu_are_planned_there(mixture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve equal layers the experts of three, a quarter of all: they and nothing else move from the card to main memory."""
    plans = [planned(mixture, monkeypatch, *asked) for asked in ((), ("n_cpu_moe=3",), ("n_cpu_moe=all",))]
    whole, part, every = (predicted_parts(plan.estimates[0]) for plan in plans)
    host = "weights_in_host_bytes"
    assert (part[host] - whole[host]) * 4 == every[host] - whole[host] > 0
    assert {found["weights"] + found[host] for found in (whole, part, every)} == {whole["weights"] + whole[host]}
    assert part["cache"] == whole["cache"]
    assert [placement_of(plan.workloads[0], plan.spec, "cuda")["n_cpu_moe"] for plan in plans] == [0, 3, 12]


def test_without_a_gpu_experts_are_in_main_memory_anyway(mixture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = {"device": "cpu", "gpu": "cpu-server-ddr5-8ch-4800", "memory": "64GiB"}
    plan = planned(mixture, monkeypatch, "n_cpu_moe=3", **processor)
    assert "n_cpu_moe changes nothing here" in " ".join(plan.estimates[0].warnings)
    assert placement_of(plan.workloads[0], plan.spec, "cpu")["n_cpu_moe"] == 0


def test_experts_asked_for_reach_the_library(mixture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The experts of layers 0 and 1 by the names in the file, and nothing of layers 10 and 11."""
    gguf = pytest.importorskip("gguf")
    monkeypatch.setitem(sys.modules, "xllamacpp", Library)
    given = LlamaCppEngine(request(mixture, device="cuda", n_cpu_moe=2)).settings(str(mixture)).tensor_buft_overrides
    patterns = [entry.removesuffix("=CPU") for entry in given.split(",")]
    names = [tensor.name for tensor in gguf.GGUFReader(mixture).tensors]
    assert {name for name in names if any(re.search(pattern, name) for pattern in patterns)} == {
        f"blk.{layer}.ffn_{matrix}_exps.weight" for layer in (0, 1) for matrix in ("gate", "up", "down")
    }


@needs_xllamacpp
def test_the_library_runs_with_experts_placed(tmp_path: Path) -> None:
    """On a processor they are where they were: the same buffers, and an answer."""
    path = write_running_model(tmp_path / "mixture.gguf", small_spec(OLMOE, **NARROW), "Q8_0")
    plain, placed = (run_in_child(request(path, n_cpu_moe=layers)) for layers in (0, 12))
    assert placed.measured["weights"] == plain.measured["weights"]
    assert placed.output


def test_layers_off_the_gpu_are_planned_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six equal layers two, and the output: a third of the cache, and what is not on the card is beside it."""
    path = tmp_path / "m.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    whole, part, none = (
        predicted_parts(planned(path, monkeypatch, *asked).estimates[0])
        for asked in ((), ("gpu_layers=3",), ("gpu_layers=0",))
    )
    assert part["cache"] * 3 == whole["cache"]
    assert none["weights"] == none["cache"] == 0
    assert part["weights"] + part["weights_in_host_bytes"] == whole["weights"] + whole["weights_in_host_bytes"]
    assert (
        none["weights_in_host_bytes"] == whole["weights"]
    )  # the tied matrix serves both ends where they are in one place


@pytest.mark.parametrize(
    ("setting", "device", "words"),
    [
        ("gpu_layers=3", "cpu", "without a GPU"), ("gpu_layers=auto", "cuda", "name a number"), ("ubatch=64", "cuda", "not ubatch"),
        ("n_cpu_moe=auto", "cuda", "n_cpu_moe=auto says how many"), ("n_cpu_moe=some", "cuda", "n_cpu_moe"),
        ("gpu_layers", "cuda", "KEY=VALUE"), ("gpu_layers=-7", "cuda", "gpu_layers"),
    ],
)  # fmt: skip
def test_settings_no_trial_can_have(
    setting: str, device: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, small_spec(SMOLLM), "Q8_0")
    with pytest.raises(UsageError) as caught:
        planned(path, monkeypatch, setting, device=device)
    assert words in f"{caught.value.message} {caught.value.where}"


def test_transformers_has_no_such_settings() -> None:
    with pytest.raises(UsageError, match="for GGUF files"):
        try_model("gpt2", random_weights=True, engine_option="gpu_layers=3")
