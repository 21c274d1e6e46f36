"""`fmkit.try_model`: refusals before anything is loaded, decisions about downloads, and whole runs through the child."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fmkit
from fmkit.api import trial_devices, trial_plan
from fmkit.api import trial_run as api
from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_model, try_sweep
from fmkit.errors import (
    DoesNotFitError,
    ExitCode,
    MissingExtraError,
    NetworkNeededError,
    TrialFailedError,
    UnsafeInputError,
    UsageError,
)
from fmkit.hub import download as hub_files
from fmkit.machine import Machine, memory_machine
from fmkit.results.trial import EngineVersion, TrialResult
from fmkit.trial.embedded import EMBEDDED, MODEL_PATH
from fmkit.trial.request import CellOutcome, Timing, TrialOutcome, TrialRequest
from fmkit.trial.store import TrialStore
from fmkit.units import GIB, MIB, format_bytes

ROOM = 24 * GIB


class Child:
    """Stands in for the child process: keeps the request and answers with figures of its own."""

    def __init__(self) -> None:
        self.request: TrialRequest | None = None

    def __call__(self, request: TrialRequest, **_: Any) -> TrialOutcome:
        self.request = request
        measured = {"weights": 100, "cache": 0, "activations": 10, "allocated_peak_bytes": 110}
        return TrialOutcome(
            engine=EngineVersion(name="transformers", version="0"),
            task="text generation",
            device="CPU",
            measured=measured,
            load_s=1.0,
            timing=Timing(ttft_s=(1.0, 3.0), decode_tokens_per_s=(5.0,)),
            output="out",
            checks=(),
            further=tuple(CellOutcome(measured=measured) for _ in request.further),
        )


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """No process is started; the machine has 24 GiB free."""
    stand_in = Child()
    monkeypatch.setattr(api, "run_in_child", stand_in)
    with_memory(monkeypatch, ROOM)
    return stand_in


def with_memory(monkeypatch: pytest.MonkeyPatch, usable_bytes: int) -> None:
    def machine(_: str | None, __: Any) -> tuple[Machine, str]:
        return msgspec.structs.replace(memory_machine(usable_bytes), usable_bytes=usable_bytes), "cpu"

    monkeypatch.setattr(trial_plan, "machine_for", machine)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialResult, Path]:
    """One real run of the embedded model, kept."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FMKIT_DATA_DIR", str(folder))
        return try_model(repeat=2, context=128), folder / "trials.sqlite3"


def test_embedded_model_runs_and_is_predicted(embedded: tuple[TrialResult, Path]) -> None:
    result, _ = embedded
    assert result.model == EMBEDDED
    assert not result.random_weights
    assert result.output
    for part in ("weights", "cache", "activations", "allocated_peak_bytes"):
        assert result.error[part] == 0, part
    assert result.unaccounted_bytes == 0
    assert abs(result.error["process_peak_bytes"]) < 0.5
    assert result.speed.ttft_s is not None
    assert result.speed.ttft_s.n == 2
    assert {check.name: check.passed for check in result.checks}["held-out-text"]


def test_result_is_kept(embedded: tuple[TrialResult, Path]) -> None:
    result, place = embedded
    assert TrialStore(place).get(result.id) == result


def test_same_function_from_the_package(child: Child) -> None:
    assert fmkit.try_model is try_model
    assert child.request is None


def test_refuses_before_loading(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 12 * GIB)
    with pytest.raises(DoesNotFitError) as caught:
        try_model("llama-3.1-8b", random_weights=True)
    message = caught.value.message
    assert caught.value.exit_code == ExitCode.DOES_NOT_FIT
    assert "offers 12.00 GiB" in message
    assert "GiB short; nothing was loaded" in message
    assert "--precision int8" in message
    assert "--random-weights --layers" in message
    assert child.request is None


def test_the_embedded_model_goes_by_its_name_in_a_refusal(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 300 * MIB)
    with pytest.raises(DoesNotFitError, match=f"^{EMBEDDED} at fp32") as caught:
        try_model()
    assert caught.value.where == EMBEDDED
    assert caught.value.next_command == f"fmkit vram {EMBEDDED} --fit"
    assert child.request is None


def test_what_the_refusal_suggests_fits(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 12 * GIB)
    with pytest.raises(DoesNotFitError) as caught:
        try_model("llama-3.1-8b", random_weights=True)
    layers = int(caught.value.message.rpartition("--layers ")[2].rstrip("."))
    try_model("llama-3.1-8b", random_weights=True, layers=layers, keep=False)
    assert child.request is not None
    with pytest.raises(DoesNotFitError):
        try_model("llama-3.1-8b", random_weights=True, layers=layers + 1)


def test_a_long_context_may_be_what_does_not_fit(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 18 * GIB)
    with pytest.raises(DoesNotFitError, match=r"--context \d+"):
        try_model("llama-3.1-8b", random_weights=True, context="128k")
    assert child.request is None


def test_request_of_a_catalog_model(child: Child) -> None:
    result = try_model("openai-community/gpt2", random_weights=True, context=256, sequences=2, keep=False)
    request = child.request
    assert request is not None
    assert (request.folder, request.dtype, request.kind) == (None, "float32", "decoder")  # its 16 bit is float16
    assert (request.context_tokens, request.sequences, request.decode_steps) == (256, 2, 16)
    assert request.config["model_type"] == "gpt2"
    assert result.unaccounted_bytes == 110 - result.predicted["allocated_peak_bytes"]
    assert result.error["weights"] == result.predicted["weights"] / 100 - 1
    assert result.speed.ttft_s is not None
    assert (result.speed.ttft_s.mean, result.speed.ttft_s.n) == (2.0, 2)
    parts = result.predicted
    assert parts["weights"] + parts["cache"] + parts["activations"] == parts["allocated_peak_bytes"]


def test_layers_cut_request_and_estimate_alike(child: Child) -> None:
    whole = try_model("gpt2", random_weights=True, keep=False)
    short = try_model("gpt2", random_weights=True, layers=2, keep=False)
    assert child.request is not None
    assert child.request.config["n_layer"] == 2
    assert short.predicted["weights"] < whole.predicted["weights"]
    assert short.workload.layers == 2


def test_default_context_leaves_room_beside_an_image(child: Child) -> None:
    try_model("llava-1.5-7b-hf", random_weights=True, keep=False)
    assert child.request is not None
    assert child.request.image_tokens == 576
    assert child.request.context_tokens == 576 + 256


def test_whisper_reads_a_fixed_window(child: Child) -> None:
    try_model("whisper-base", random_weights=True, keep=False)
    assert child.request is not None
    assert child.request.encoder_tokens == 1500
    assert child.request.context_tokens == 448


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("gpt2", {"engine": "llama.cpp"}, "runs GGUF files"),
        ("gpt2", {"engine": "http://localhost:8000/v1", "random_weights": True}, "own weights"),
        ("gpt2", {"engine": "tensorflow"}, "unknown engine"),
        ("gpt2", {"layers": 2}, "--random-weights only"),
        ("gpt2", {"layers": 0, "random_weights": True}, "can't build 0 layers"),
        ("gpt2", {"layers": 13, "random_weights": True}, "12 layers, not 13"),
        ("gpt2", {"repeat": -1}, "can't repeat -1"),
        (None, {"random_weights": True}, "name a model"),
        ("gpt2", {"random_weights": True, "precision": "int5"}, "unknown precision"),
        ("gpt2", {"random_weights": True, "device": "tpu"}, "unknown device"),
        ("gpt2", {"random_weights": True, "context": 5000}, "limit is 1k"),
        ("gpt2", {"random_weights": True, "sequences": 0}, "can't take 0"),
        ("gpt2", {"random_weights": True, "checks": ["nothing"]}, "unknown check"),
        ("gpt2", {"random_weights": True, "input": "/no/such.txt"}, "no such file"),
        ("gpt3", {"random_weights": True}, "unknown model"),
        ("gpt-4o", {}, "no weights to load"),
    ],
)
def test_usage_errors(
    model: str | None, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "run_in_child", None)
    with pytest.raises(UsageError, match=message):
        try_model(model, **options)


def test_an_input_the_model_can_not_take(child: Child, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    sound.touch()
    with pytest.raises(UsageError, match=r"can't take a\.wav"):
        try_model("gpt2", random_weights=True, input=str(sound))
    with pytest.raises(UsageError, match="exclude each other"):
        try_model("gpt2", random_weights=True, input=str(sound), prompt="x")
    try_model("whisper-base", random_weights=True, input=str(sound), keep=False)
    assert child.request is not None


def test_missing_library(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "accelerate" else object())
    with pytest.raises(MissingExtraError, match="needs accelerate") as caught:
        try_model("gpt2", random_weights=True)
    assert caught.value.next_command == "pip install 'fmkit[try]'"
    assert child.request is None


def test_missing_quantiser(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else object())
    with pytest.raises(MissingExtraError, match="needs bitsandbytes"):
        try_model("gpt2", random_weights=True, precision="int8")
    assert child.request is None


def test_quantised_repositories(child: Child, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODEL_PATH, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    with pytest.raises(UsageError, match=r"stored quantised \(awq\)"):
        try_model(str(folder))
    result = try_model(str(folder), random_weights=True, keep=False)
    assert any("the random ones are not" in warning for warning in result.warnings)
    assert child.request is not None


def test_pickled_folder(child: Child, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODEL_PATH, tmp_path / "model"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeInputError, match="pickle"):
        try_model(str(folder))
    assert child.request is None


def test_a_store_that_can_not_be_written_is_a_warning(
    child: Child, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FMKIT_DATA_DIR", str(tmp_path / "file"))
    result = try_model("gpt2", random_weights=True)
    assert any("was not kept" in warning for warning in result.warnings)
    assert child.request is not None


PLAN = hub_files.Download(hub_id="openai-community/gpt2", commit="a" * 40, files={"model.safetensors": 548 * 10**6})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: None) -> list[str]:
    """A Hub that has GPT-2 and nothing cached; what was fetched is listed."""
    fetched: list[str] = []

    def fetch(plan: hub_files.Download, *, say: Callable[[str], None] | None) -> Path:
        fetched.append(f"{plan.commit[:4]} {say is None}")
        return tmp_path

    monkeypatch.setattr(hub_files, "cached_snapshot", lambda *_: None)
    del network
    monkeypatch.setattr(hub_files, "plan_download", lambda *_: PLAN)
    monkeypatch.setattr(hub_files, "fetch", fetch)
    return fetched


def test_no_download_unless_somebody_agrees(child: Child, hub: list[str]) -> None:
    with pytest.raises(UsageError, match=r"nobody agreed .* 522\.6 MiB") as caught:
        try_model("gpt2")
    assert "--yes" in str(caught.value.next_command)
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(UsageError):
        try_model("gpt2", confirm=refuse)
    assert "522.6 MiB" in asked[0]
    assert hub == []
    assert child.request is None


def test_download_with_yes_or_consent(child: Child, hub: list[str], tmp_path: Path) -> None:
    try_model("gpt2", yes=True, keep=False)
    assert child.request is not None
    assert child.request.folder == str(tmp_path.resolve())
    try_model("gpt2", confirm=lambda _: True, keep=False, progress=lambda _: None)
    assert hub == ["aaaa True", "aaaa False"]


def test_no_network_and_not_cached(child: Child, hub: list[str]) -> None:
    with pytest.raises(NetworkNeededError, match="not on this disk"):
        try_model("gpt2", offline=True)
    assert hub == []
    assert child.request is None


def test_a_full_disk_is_noticed_before_the_download(
    child: Child, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(UsageError, match=r"the disk has 95\.4 MiB free"):
        try_model("gpt2", yes=True)
    assert hub == []
    assert child.request is None


def test_cached_models_need_no_network(child: Child, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Hub library's own cache is found, offline, if its weights are complete."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--openai-community--gpt2" / "snapshots" / ("b" * 40)
    shutil.copytree(MODEL_PATH, snapshot)
    refs = tmp_path / "models--openai-community--gpt2" / "refs"
    refs.mkdir()
    (refs / "main").write_text("b" * 40)
    try_model("gpt2", offline=True, keep=False)
    assert child.request is not None
    assert child.request.folder == str(snapshot)


def test_free_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = msgspec.structs.replace(memory_machine(64 * GIB), free_bytes=2 * GIB)
    monkeypatch.setattr(trial_devices, "this_machine", lambda _: busy)
    machine, device = trial_devices.machine_for(None, None)  # type: ignore[arg-type]
    assert (machine.usable_bytes, device) == (2 * GIB, "cpu")


def test_sweep_loads_once_for_each_precision(child: Child) -> None:
    options = TrialOptions(random_weights=True, keep=False)
    result = try_sweep("gpt2", precision=["fp32"], context=[64, "128"], sequences=[1, 2], options=options)
    assert child.request is not None
    assert [(cell.context_tokens, cell.sequences) for cell in child.request.further] == [(128, 1), (64, 2), (128, 2)]
    assert [(one.workload.context_tokens, one.workload.sequences) for one in result.trials] == [
        (64, 1), (128, 1), (64, 2), (128, 2),
    ]  # fmt: skip
    assert not result.failed


def test_sweep_leaves_out_what_does_not_fit(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 18 * GIB)
    options = TrialOptions(random_weights=True, keep=False)
    result = try_sweep("llama-3.1-8b", precision=["fp16"], context=["1k", "128k", "2k"], options=options)
    assert child.request is not None
    assert [cell.context_tokens for cell in child.request.further] == [2048]
    assert [one.workload.context_tokens for one in result.trials] == [1024, 2048]
    (missed,) = result.failed
    assert (missed.precision, missed.context_tokens) == ("fp16", 128 * 1024)
    assert "more than there is" in missed.reason


def test_sweep_goes_on_without_a_precision_that_does_not_fit(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 12 * GIB)
    options = TrialOptions(random_weights=True, keep=False)
    monkeypatch.setattr(trial_plan, "quantiser_for", lambda *_: None)
    result = try_sweep("llama-3.1-8b", precision=["fp16", "int4"], context=["64", "128"], options=options)
    assert [one.precision for one in result.trials] == ["int4", "int4"]
    assert [(one.precision, one.context_tokens, one.kind) for one in result.failed] == [
        ("fp16", 64, "does-not-fit"), ("fp16", 128, "does-not-fit"),
    ]  # fmt: skip
    with pytest.raises(DoesNotFitError):
        try_sweep("llama-3.1-8b", precision=["fp16"], options=options)
    assert child.request is not None


def test_sweep_runs_what_fits_wherever_it_stands(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 18 * GIB)
    options = TrialOptions(random_weights=True, keep=False)
    result = try_sweep("llama-3.1-8b", precision=["fp16"], context=["128k", "1k"], options=options)
    assert [one.workload.context_tokens for one in result.trials] == [1024]
    assert [one.context_tokens for one in result.failed] == [128 * 1024]
    assert child.request is not None


def test_every_workload_of_a_precision_that_fails_is_told(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(request: TrialRequest, **_: Any) -> TrialOutcome:
        if request.dtype == "float32":
            raise TrialFailedError("loading the model took longer than 1 s, and was stopped")
        return child(request)

    monkeypatch.setattr(api, "run_in_child", fails)
    options = TrialOptions(random_weights=True, keep=False)
    result = try_sweep("gpt2", precision=["fp32", "fp16"], context=[64, 128], options=options)
    assert [one.precision for one in result.trials] == ["fp16", "fp16"]
    first, second = result.failed
    assert (first.precision, first.context_tokens, first.reason) == (
        "fp32", 64, "loading the model took longer than 1 s, and was stopped",
    )  # fmt: skip
    assert (second.context_tokens, second.kind) == (128, "failed")
    assert second.reason.startswith("not run")


def test_the_plan_gives_a_range(child: Child) -> None:
    """The range is the record's own: a peak above its middle is no surprise."""
    heard: list[str] = []
    found = try_model("gpt2", random_weights=True, keep=False, progress=heard.append)
    low, high = (format_bytes(found.predicted[name]) for name in ("low_bytes", "high_bytes"))
    (plan,) = [line for line in heard if line.startswith("plan: gpt2")]
    assert f"about {format_bytes(found.predicted['process_peak_bytes'])} ({low} to {high}) of" in plan
    assert "at most" not in plan
    assert child.request is not None


def test_an_empty_input_is_refused(child: Child, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(UnsafeInputError, match="no text"):
        try_model("gpt2", input=str(empty), random_weights=True)
    assert child.request is None


def test_quantised_mamba_is_refused_on_a_processor(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = msgspec.structs.replace(memory_machine(ROOM), origin="detected")
    monkeypatch.setattr(trial_plan, "machine_for", lambda *_: (cpu, "cpu"))
    with pytest.raises(UsageError, match="does not run on a CPU") as caught:
        try_model("mamba-130m", precision="int8", random_weights=True)
    assert caught.value.where == "--precision"
    assert child.request is None


def test_what_a_user_need_not_read_twice_or_wonder_about(child: Child) -> None:
    heard: list[str] = []
    options = TrialOptions(random_weights=True, prompt="Hello", keep=False, progress=heard.append)
    found = try_sweep("gpt2", context=("64", "128"), sequences=(1, 2), options=options)
    assert sum("left to the system" in line for line in heard) <= 1
    assert "--prompt was not used: random weights answer nothing" in found.trials[0].warnings
    assert child.request is not None


def test_an_engine_that_is_measured_as_a_server() -> None:
    with pytest.raises(UsageError, match="start it, and give its address") as caught:
        try_model("gpt2", engine="vllm")
    assert caught.value.next_command == "fmkit try --engine http://localhost:8000/v1"


def test_a_trial_that_is_interrupted_says_so(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> TrialOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "run_in_child", interrupted)
    heard: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        try_model("gpt2", random_weights=True, progress=heard.append)
    assert heard[-1] == "interrupted: nothing of the trial was kept, and nothing is left behind"
    assert child.request is None
