"""Start-up logs as published, and as they come: cut off, coloured, interleaved, binary."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmkit.errors import FmkitError, UnsafeInputError
from fmkit.sizing.logs.log import StartupLog, lines_of
from fmkit.sizing.logs.read import read_log
from fmkit.units import GIB, MIB

FOLDER = Path(__file__).parents[2] / "fixtures" / "logs"
LOGS = sorted(FOLDER.glob("*.log"), key=lambda path: path.name)


def log(name: str) -> StartupLog:
    return read_log((FOLDER / f"{name}.log").read_text(encoding="utf-8"))


def gib(found: StartupLog, part: str) -> float:
    figure = found.most(part)
    assert figure is not None, part
    return round(figure.bytes / GIB, 4)


def mib(found: StartupLog, part: str) -> dict[str, float]:
    return {each.device: round(each.bytes / MIB, 2) for each in found.parts(part)}


def test_vllm_before_0_8_says_every_part() -> None:
    found = log("vllm-0.7-llama-3.1-8b")
    assert found.engine == "vllm"
    parts = {part: gib(found, part) for part in ("weights", "activations", "non-torch", "available")}
    assert parts == {"weights": 14.9888, "activations": 0.22, "non-torch": 0.05, "available": 4.6}
    assert found.kv_tokens == 2356 * 16
    assert found.concurrency == (0.29, 131072)
    assert found.total_bytes == round(22.07 * GIB)
    assert found.options["gpu_memory_utilization"] == "0.90"
    assert [text for text in found.missing if "model" in text]


def test_vllm_0_6_4_says_every_part_in_one_line() -> None:
    found = log("vllm-0.6.4-opt-125m")
    parts = {part: gib(found, part) for part in ("weights", "activations", "non-torch", "available", "graphs")}
    assert parts == {"weights": 0.2389, "activations": 0.4711, "non-torch": 0.15, "available": 6.27, "graphs": 0.39}
    assert (found.kv_tokens, found.total_bytes) == (11422 * 16, round(7.92 * GIB))
    assert found.options["gpu_memory_utilization"] == "0.90"
    assert (found.missing, found.not_understood) == ((), ())


def test_vllm_names_its_model_and_settings() -> None:
    found = log("vllm-0.5-llama-3.1-8b")
    assert (found.version, found.model, found.weights) == ("0.5.4", "meta-llama/Meta-Llama-3.1-8B-Instruct", "bfloat16")
    assert (found.context_tokens, found.tensor_parallel, found.kv_tokens) == (512, 1, 9930 * 16)


def test_vllm_today() -> None:
    found = log("vllm-0.15-llama-3.1-8b")
    assert (gib(found, "weights"), gib(found, "available")) == (14.99, 19.28)
    assert (found.kv_tokens, found.concurrency, found.model) == (
        157936,
        (1.2, 131072),
        "/models/Meta-Llama-3.1-8B-Instruct",
    )
    assert found.not_understood == ()


def test_ranks_interleaved() -> None:
    found = log("vllm-0.10-qwen3-235b-fp8-tp4")
    assert found.tensor_parallel == 4
    assert {each.device for each in found.figures} == {"TP3_EP3", "TP2_EP2"}
    assert (gib(found, "weights"), gib(found, "graphs"), gib(found, "non-torch")) == (27.72, 3.45, 0.21)
    assert found.total_bytes == round(44.42 * GIB)


def test_sglang_prints_gib_as_gb() -> None:
    found = log("sglang-qwen3-30b-a3b")
    assert found.engine == "sglang"
    assert gib(found, "weights") == 56.98  # the parameters are 56.87 GiB, and would be 61.06 GB
    assert found.kv_tokens == 1669816
    assert round(found.parts("cache 1669816")[0].bytes / GIB, 2) == 152.88


def test_sglang_pools_of_windowed_layers() -> None:
    found = log("sglang-mimo-v2-flash-tp4")
    assert (found.tensor_parallel, found.facts["swa_layer_tokens"]) == (4, "300288")
    assert {each.device for each in found.parts("cache 300288")} == {"TP1", "TP2"}


def test_llama_cpp_of_2024() -> None:
    found = log("llama.cpp-2024-llama-2-7b-4-gpus")
    assert mib(found, "cache") == {"CUDA0": 512.0, "CUDA1": 512.0, "CUDA2": 512.0, "CUDA3": 512.0}
    assert mib(found, "activations")["CUDA0"] == 320.5
    assert (found.context_tokens, found.options["flash_attention"], found.options["outputs"]) == (4096, "off", "all")
    assert any("file type" in text for text in found.missing)


def test_llama_cpp_counts_a_window_cache_once() -> None:
    found = log("llama.cpp-gpt-oss-20b-hexagon")
    assert sum(each.bytes for each in found.parts("cache")) / MIB == pytest.approx(102 + 3.19, abs=0.02)
    assert found.options["cache_type_k"] == found.options["cache_type_v"] == "q8_0"


def test_llama_cpp_of_2025_names_everything() -> None:
    found = log("llama.cpp-2025-qwen3-4b-cuda")
    assert (found.model, found.weights, found.context_tokens) == ("Qwen3-4B", "Q4_K - Medium", 8192)
    assert mib(found, "weights") == {"CUDA0": 2375.91, "CPU_Mapped": 304.28}
    assert found.options == {
        "outputs": "all", "imatrix": "true", "ubatch": "512", "flash_attention": "off", "kv_unified": "true",
    }  # fmt: skip
    assert (found.missing, found.not_understood) == ((), ())


def test_llama_cpp_today() -> None:
    found = log("llama.cpp-b11549-gemma-3-1b-cpu")
    assert (found.context_tokens, found.sequences, found.options["outputs"]) == (4096, 2, "last")
    assert mib(found, "weights") == {"CPU_Mapped": 762.49, "CPU_REPACK": 71.98}
    assert mib(found, "activations") == {"CPU": 56.78}
    assert found.weights is None  # the program guessed it from the commonest tensor
    assert "kv_unified" not in found.options


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_colours_and_carriage_returns_change_nothing(path: Path) -> None:
    plain = path.read_text(encoding="utf-8")
    dressed = "\r\n".join(f"\x1b[34m{line}\x1b[0m" for line in plain.splitlines())
    first, second = read_log(plain), read_log(dressed)
    assert [(each.part, each.bytes, each.device) for each in first.figures] == [
        (each.part, each.bytes, each.device) for each in second.figures
    ]
    assert first.options == second.options


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_log_cut_off_anywhere_is_read_or_refused(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    whole = read_log(text)
    for share in range(1, 10):
        try:
            found = read_log(text[: len(text) * share // 10])
        except UnsafeInputError:
            continue
        assert len(found.figures) <= len(whole.figures)
        assert {text for text in whole.missing if "other devices" not in text} <= set(found.missing)


def test_what_is_not_understood_is_said() -> None:
    extra = "INFO 03-25 21:32:49 worker.py:300] a scratch area of 3.50 GiB was set aside\n"
    found = read_log((FOLDER / "vllm-0.7-llama-3.1-8b.log").read_text(encoding="utf-8") + extra)
    assert found.not_understood == (extra.strip(),)


@pytest.mark.parametrize("text", ["", "hello\nworld\n", "\x00\x01\x02", "GPU 24 GiB\n" * 100])
def test_no_log_is_refused(text: str) -> None:
    with pytest.raises(UnsafeInputError):
        read_log(text)


def test_a_log_without_figures_says_what_is_missing() -> None:
    with pytest.raises(UnsafeInputError, match=r"missing: .*model buffers"):
        read_log("llama_model_loader: loaded meta data with 1 key-value pairs and 2 tensors from a.gguf (version 3)\n")


SIGNS = (
    "load_tensors: ",
    "llama_context: ",
    "INFO vllm ",
    "KV Cache is allocated. ",
    "buffer size = ",
    "#tokens: ",
    "MiB",
    "=",
    "9",
    ",",
    "\n",
)


@given(st.lists(st.sampled_from(SIGNS) | st.text(max_size=12), max_size=60))
def test_any_text_is_read_or_refused(pieces: list[str]) -> None:
    with suppress(FmkitError):
        read_log("".join(pieces))


@pytest.mark.parametrize("number", ["9" * 6000, "\u00b2", "1.2.3", ",", "0", "auto", "-1"], ids=lambda text: text[:5])
@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_numbers_nobody_prints_are_read_or_refused(path: Path, number: str) -> None:
    text = path.read_text(encoding="utf-8")
    with suppress(FmkitError):
        read_log(re.sub(r"(?<=[=: (])\d[\d.,]*", number, text))


def test_long_lines_are_cut() -> None:
    assert len(lines_of("x" * 1_000_000)[0]) == 20_000
