"""`--paste-log`: published start-up logs, predicted and actual by part."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmkit.api.paste_log import paste_log
from fmkit.errors import UnsafeInputError, UsageError
from fmkit.results.paste_log import PasteLogResult

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "tests" / "fixtures" / "logs"


def pasted(name: str, model: str | None = None, precision: str | None = None, gpu: str | None = None) -> PasteLogResult:
    return paste_log(str(LOGS / f"{name}.log"), model, precision=precision, gpu=gpu)


def errors(found: PasteLogResult) -> dict[str, float]:
    return {part.part: round(part.error, 3) for part in found.parts if part.error is not None}


def test_vllm_weights_and_tokens() -> None:
    found = pasted("vllm-0.7-llama-3.1-8b", "llama-3.1-8b-instruct")
    assert errors(found)["weights"] == 0.0
    assert abs(errors(found)["cache"]) <= 0.001
    assert abs(errors(found)["cache of one request"]) <= 0.02  # 0.29x is printed with two digits
    assert found.missed_most == "start-up profile"  # the log does not say how small its batch was
    assert any("max_num_batched_tokens" in text for text in found.assumed)
    assert any("model's name" in text for text in found.missing)


def test_the_model_is_taken_from_the_log() -> None:
    found = pasted("vllm-0.15-llama-3.1-8b")
    assert found.model.ref == "Meta-Llama-3.1-8B-Instruct"
    assert errors(found) == {
        "weights": 0.0,
        "cache": pytest.approx(0, abs=0.001),
        "cache of one request": pytest.approx(0, abs=0.01),
    }
    assert found.missed_most is None


def test_a_hub_id_in_the_configuration() -> None:
    found = pasted("vllm-0.5-llama-3.1-8b")
    assert found.model.hub_id == "meta-llama/Meta-Llama-3.1-8B-Instruct"
    assert found.engine_version == "0.5.4"
    assert errors(found)["weights"] == 0.0


def test_sglang_weights_and_tokens() -> None:
    found = pasted("sglang-qwen3-30b-a3b", "qwen3-30b-a3b")
    assert abs(errors(found)["weights"]) <= 0.003
    assert abs(errors(found)["cache"]) <= 0.001


def test_sglang_window_pool_per_rank() -> None:
    found = pasted("sglang-mimo-v2-flash-tp4", "mimo-v2-flash", "fp16")
    assert abs(errors(found)["cache of sliding layers"]) <= 0.001


def test_llama_cpp_window_and_cache_type() -> None:
    found = pasted("llama.cpp-gpt-oss-20b-hexagon", "gpt-oss-20b", "mxfp4")
    cache = next(part for part in found.parts if part.part == "cache")
    assert (
        cache.predicted_bytes == 12 * 2 * 8 * 64 * (8192 + 768) * 34 // 32
    )  # the log's micro-batch of 128 is not printed
    assert any("ubatch" in text for text in found.assumed)


def test_llama_cpp_over_four_devices() -> None:
    found = pasted("llama.cpp-2024-llama-2-7b-4-gpus", "llama-2-7b", "fp16")
    assert errors(found)["cache"] == 0.0
    assert found.settings["flash_attention"] == "off"
    weights = next(part for part in found.parts if part.part == "weights")
    assert weights.within is None  # three of four model buffers are cut off in what was published
    assert any("weights of CUDA0, CUDA1, CUDA2" in text for text in found.missing)


def test_llama_cpp_of_2025_to_the_last_digit() -> None:
    found = pasted("llama.cpp-2025-qwen3-4b-cuda")
    assert {part for part, error in errors(found).items() if error == 0.0} == {
        "weights",
        "cache",
        "weights with the host",
    }
    assert abs(errors(found)["compute buffers"]) <= 0.015  # a log that nothing was fitted on
    assert found.missed_most is None


def test_vllm_packed_weights_from_the_arguments() -> None:
    found = pasted("vllm-qwen2.5-7b-awq")
    assert (found.model.hub_id, found.layout) == ("Qwen/Qwen2.5-7B-Instruct-AWQ", "AWQ g128")
    assert abs(errors(found)["cache"]) <= 0.002
    assert abs(errors(found)["cache of one request"]) <= 0.002


def test_llama_cpp_today_to_the_last_digit() -> None:
    found = pasted("llama.cpp-b11549-gemma-3-1b-cpu", precision="int4")
    assert found.model.ref == "gemma-3-1b-it-Q4_K_M"
    assert {name: error for name, error in errors(found).items() if name in ("weights", "cache")} == {
        "weights": 0.0,
        "cache": 0.0,
    }
    assert found.missed_most is None
    assert not any("experts" in text for text in found.assumed)


def test_weights_that_the_log_does_not_name() -> None:
    with pytest.raises(UsageError, match="how the weights are stored"):
        pasted("llama.cpp-b11549-gemma-3-1b-cpu")


def test_a_model_that_nobody_names() -> None:
    with pytest.raises(UsageError, match="does not name the model"):
        pasted("sglang-qwen3-30b-a3b")


def test_a_name_that_the_catalog_lacks(tmp_path: Path) -> None:
    text = (
        (LOGS / "vllm-0.15-llama-3.1-8b.log")
        .read_text(encoding="utf-8")
        .replace("Meta-Llama-3.1-8B-Instruct", "my-own-13b")
    )
    (tmp_path / "own.log").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="my-own-13b"):
        paste_log(str(tmp_path / "own.log"))


def test_files_that_are_no_logs(tmp_path: Path) -> None:
    binary = tmp_path / "weights.bin"
    binary.write_bytes(b"\x00\x01" * 4096)
    for source, words in ((binary, "binary"), (tmp_path / "absent.log", "can't read"), (tmp_path, "can't read")):
        with pytest.raises(UnsafeInputError, match=words):
            paste_log(str(source), "gpt2")


def test_a_log_redirected_by_powershell(tmp_path: Path) -> None:
    text = (LOGS / "sglang-qwen3-30b-a3b.log").read_text(encoding="utf-8")
    (tmp_path / "wide.log").write_text(text, encoding="utf-16")
    assert paste_log(str(tmp_path / "wide.log"), "qwen3-30b-a3b").parts[0].part == "weights"


def test_vllm_0_6_4_every_part_and_the_room_for_the_cache() -> None:
    """A log that no rule was fitted on; what is left for the cache is the card's, less all that was predicted."""
    found = pasted("vllm-0.6.4-opt-125m")
    assert found.missed_most is None
    assert {"start-up profile", "outside of PyTorch", "CUDA graphs"} <= errors(found).keys()
    assert abs(errors(found)["cache"]) <= 0.001
    assert abs(errors(found)["room for the cache"]) <= 0.005
    assert found.missing == ()


@pytest.mark.parametrize("gpu", ["a100-sxm4-40gb", "a100-sxm4-40gb:2"])
def test_a_named_card_is_used_for_the_room_and_not_called_missing(gpu: str) -> None:
    assert any("card's memory" in text for text in pasted("vllm-0.5-llama-3.1-8b").missing)
    found = pasted("vllm-0.5-llama-3.1-8b", gpu=gpu)
    assert not any("card's memory" in text for text in found.missing)
    assert any("gpu_memory_utilization" in text for text in found.missing)
    assert abs(errors(found)["room for the cache"]) <= 0.02  # 9,930 blocks; the notebook's card had 40 GB


def test_a_log_of_another_model_or_card_is_said() -> None:
    other = pasted("vllm-0.5-llama-3.1-8b", "qwen2.5-7b")
    assert any("another model than qwen2.5-7b" in text for text in other.warnings)
    small = pasted("vllm-0.5-llama-3.1-8b", "llama-3.1-8b-instruct", gpu="t4")
    assert [text for text in small.warnings if "another card" in text]
    same = pasted("vllm-0.5-llama-3.1-8b", "llama-3.1-8b", gpu="a100-sxm4-40gb")  # its base: the same tensors
    assert not any("another" in text for text in same.warnings)


def test_a_size_below_zero_is_said_and_not_counted(tmp_path: Path) -> None:
    text = (LOGS / "vllm-0.6.4-opt-125m.log").read_text(encoding="utf-8").replace("took 0.2389", "took -14.90")
    (tmp_path / "below.log").write_text(text, encoding="utf-8")
    found = paste_log(str(tmp_path / "below.log"))
    assert all(part.actual_bytes >= 0 for part in found.parts)
    assert not {"weights", "start-up profile"} & {part.part for part in found.parts}
    assert any("below zero" in text and "-14.90" in text for text in found.warnings)
