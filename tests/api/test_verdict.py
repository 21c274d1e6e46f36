"""The sentence that `fmkit vram` begins with: what fits, how far, and what stands beside that."""

from __future__ import annotations

import re

import pytest

from fmkit.api.vram import vram
from fmkit.units import GIB, format_bytes


def test_a_length_past_the_limit_is_not_called_the_limit() -> None:
    past = vram("llama-3.1-8b", context="200k", gpu="h200", precision="fp16")
    assert past.estimates[0].fits
    assert past.verdict.endswith("at FP16 with 200k tokens, past the model's limit of 128k.")
    both = vram("llama-3.1-8b", context=["4k", "200k"], gpu="h200", precision="fp16")
    assert both.verdict.endswith("at FP16 up to 128k tokens, the model's limit.")


@pytest.mark.parametrize(("setting", "offered"), [(None, "21.17 GiB"), ("gpu_memory_utilization=0.5", "11.76 GiB")])
def test_what_vllm_keeps_to_is_part_of_the_sum(setting: str | None, offered: str) -> None:
    asked = {"engine": "vllm", "engine_option": setting, "gpu": "rtx-4090", "context": "52k"}
    found = vram("llama-3.1-8b", precision="fp16", **asked)  # type: ignore[arg-type]
    estimate = found.estimates[0]
    assert f"({format_bytes(estimate.per_device_bytes)} against {offered}, gpu_memory_utilization 0." in found.verdict
    assert estimate.device_budget_bytes is not None
    assert estimate.short_bytes == estimate.per_device_bytes - estimate.device_budget_bytes
    assert estimate.per_device_bytes < 23.52 * GIB  # it would fit into all that is usable


def test_where_the_device_is_the_limit_no_setting_is_named() -> None:
    asked = {"engine": "vllm", "engine_option": "gpu_memory_utilization=1.0", "gpu": "rtx-4090", "context": "128k"}
    found = vram("llama-3.1-8b", precision="fp16", **asked)  # type: ignore[arg-type]
    assert found.estimates[0].budget_reason == ""
    assert "against" not in found.verdict


def test_off_loaded_weights_are_said() -> None:
    found = vram("llama-3.1-70b", precision="fp16", context="4k", gpu="rtx-4090", memory="64GiB", offload=True)
    host = found.estimates[0].host
    assert host is not None
    assert host.weights_bytes == host.bytes + host.disk_bytes  # nothing else lies there
    assert "with 113.52 GiB of its weights off-loaded (62.52 GiB on disk)" in found.verdict
    assert host.budget_reason.startswith("64.00 GiB less 4.00 GiB: a tenth")


def test_layers_left_with_the_host_are_said_but_an_embedding_there_is_not() -> None:
    asked = {"precision": "fp16", "engine": "llama.cpp", "gpu": "rtx-4090", "context": "4k"}
    some = vram("llama-3.1-8b", engine_option="gpu_layers=20", **asked)  # type: ignore[arg-type]
    assert "GiB of its weights off-loaded" in some.verdict
    whole = vram("llama-3.1-8b", **asked)  # type: ignore[arg-type]
    assert whole.estimates[0].host is not None
    assert "off-loaded" not in whole.verdict


def test_layers_are_counted_where_the_context_ends() -> None:
    found = vram(
        "llama-3.1-8b", precision="fp16", engine="llama.cpp", engine_option="gpu_layers=auto", gpu="rtx-3060-12gb:1"
    )
    assert "up to 128k tokens, the model's limit, with " in found.verdict


@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_what_bitsandbytes_refuses_does_not_fit(precision: str) -> None:
    found = vram("llama-3.1-70b", precision=precision, gpu="rtx-4090", memory="256GiB", offload=True, fit=True)
    assert "does not load" in found.verdict
    assert "bitsandbytes refuses" in found.verdict
    assert [estimate.fits for estimate in found.estimates] == [False, False, False]
    assert found.fit is not None
    assert found.fit.best_precision is None
    assert not any("fmkit try" in command for command in found.next)


def test_off_loading_asked_for_and_not_needed_is_not_refused() -> None:
    found = vram("llama-3.1-8b", precision="int4", context="4k", gpu="rtx-4090", memory="64GiB", offload=True)
    assert found.estimates[0].refused is None
    assert found.estimates[0].fits


def test_off_loading_is_not_proposed_where_it_is_refused() -> None:
    fit = vram("llama-3.1-70b", precision=["fp16", "int4"], context="4k", gpu="rtx-4090", fit=True).fit
    assert fit is not None
    options = {found.precision: {cut.option for cut in found.cuts} for found in fit.precisions}
    assert "--offload" in options["fp16"]
    assert "--offload" not in options["int4"]


def test_a_refused_precision_beside_one_that_is_short_is_said_too() -> None:
    asked = {"gpu": "rtx-4090", "memory": "256GiB", "context": "128k"}
    found = vram("llama-3.1-70b", precision=["fp16", "int4"], offload=True, **asked)  # type: ignore[arg-type]
    assert "even at FP16" in found.verdict
    assert "; at INT4 bitsandbytes refuses" in found.verdict


def test_a_method_of_training_begins_the_sentence() -> None:
    assert vram("gpt2", train="full", gpu="rtx-4090").verdict.startswith("Full fine-tuning of gpt2 fits ")


@pytest.mark.parametrize(
    ("engine", "device", "others"),
    [
        ("vllm", "apple-m3-pro-18gb", "llama.cpp and transformers do"),
        ("vllm", "gtx-1080-ti", "llama.cpp and transformers do"),
        ("vllm", "rx-7600", "llama.cpp and transformers do"),
        ("transformers", "rx-580", "llama.cpp does"),
    ],
)
def test_an_engine_that_does_not_run_there_is_said_and_one_that_does_is_named(
    engine: str, device: str, others: str
) -> None:
    found = vram("smollm2-135m-instruct", precision="fp16", context="2k", gpu=device, engine=engine)
    assert f"does not run on {found.machine.name}" in found.verdict  # type: ignore[union-attr]
    assert f"; {others} (--engine llama.cpp)" in found.verdict
    assert found.estimates[0].refused is not None
    assert found.estimates[0].fits is False
    assert found.estimates[0].speed is None
    assert (
        vram("smollm2-135m-instruct", precision="fp16", context="2k", gpu=device, engine="llama.cpp").estimates[0].fits
    )


@pytest.mark.parametrize("device", ["v100-pcie-16gb", "t4", "rx-7700-xt", "mi210", "arc-b580", "max-1550"])
def test_an_engine_runs_on_what_its_documentation_lists(device: str) -> None:
    assert vram("smollm2-135m-instruct", precision="fp16", context="2k", gpu=device, engine="vllm").estimates[0].fits


def test_only_devices_that_the_engine_runs_on_are_proposed() -> None:
    asked = {"precision": "int4", "context": "4k", "gpu": "rtx-4090"}
    assert vram("deepseek-v3", engine="llama.cpp", **asked).verdict.endswith("(--gpu apple-m3-ultra-512gb).")  # type: ignore[arg-type]
    assert vram("deepseek-v3", engine="vllm", **asked).verdict.endswith("(--gpu mi300x:2).")  # type: ignore[arg-type]


def test_the_machine_s_own_devices_come_before_others() -> None:
    found = vram("deepseek-r1", gpu="h200:8", engine="vllm", context="4k")
    assert found.verdict.endswith("; --tensor-parallel 8 holds it at STORED.")
    assert vram(
        "deepseek-r1", gpu="h200:8", engine="vllm", context="4k", precision="stored", tensor_parallel=8
    ).estimates[0].fits  # fmt: skip
    assert "--tensor-parallel" not in vram("deepseek-r1", gpu="h200", engine="vllm", context="4k").verdict


def test_a_setting_that_is_enough_is_named() -> None:
    asked = {"gpu": "h100-sxm5-80gb", "engine": "vllm", "context": "4k"}
    found = vram("gpt-oss-120b", precision="mxfp4", fit=True, **asked)  # type: ignore[arg-type]
    assert found.verdict.endswith("--engine-option max_num_seqs=512 holds it at MXFP4.")
    assert found.fit is not None
    cut = found.fit.cuts[0]
    assert cut.fits
    assert cut.option == "--engine-option max_num_seqs=512"
    again = vram("gpt-oss-120b", precision="mxfp4", engine_option="max_num_seqs=512", **asked)  # type: ignore[arg-type]
    assert again.estimates[0].fits
    assert found.estimates[0].per_device_bytes - again.estimates[0].per_device_bytes == cut.saves_bytes
    all_of_them = vram("gpt-oss-120b", **asked)  # type: ignore[arg-type]
    assert "at STORED you are 1.59 GiB short" in all_of_them.verdict
    assert "which --engine-option max_num_seqs=512 gives" in all_of_them.verdict


def test_a_setting_that_was_given_or_is_too_small_is_not_proposed() -> None:
    asked = {"precision": "mxfp4", "gpu": "h100-sxm5-80gb", "engine": "vllm", "context": 16}
    many = vram("gpt-oss-120b", sequences=600, **asked)  # type: ignore[arg-type]
    assert "max_num_seqs" not in many.verdict
    given = vram("gpt-oss-120b", engine_option="max_num_seqs=1024", **asked)  # type: ignore[arg-type]
    assert "max_num_seqs" not in given.verdict
    assert "gpu_memory_utilization=0.95 holds it" in given.verdict


def test_what_fits_only_by_a_hair_is_called_tight() -> None:
    found = vram("llama-3.1-8b", precision="fp16", context=["4k", "33805"], gpu="rtx-4090")
    easy, hard = found.estimates
    assert hard.device_budget_bytes is not None
    assert hard.fits
    assert hard.high_bytes > hard.device_budget_bytes  # one device: its range is the whole
    assert (easy.tight, hard.tight) == (False, True)
    told = re.search(r"up to 33,805 tokens, tight beyond ([0-9,]+) by the high end of the estimate", found.verdict)
    assert told is not None
    safe = int(told[1].replace(",", ""))
    around = vram("llama-3.1-8b", precision="fp16", context=[safe, safe + 1], gpu="rtx-4090").estimates
    assert [each.high_bytes <= hard.device_budget_bytes for each in around] == [True, False]


def test_what_does_not_fit_or_was_not_judged_is_not_called_tight() -> None:
    assert vram("llama-3.1-8b", precision="fp16", context="128k", gpu="rtx-4090").estimates[0].tight is False
    assert "tight" not in vram("llama-3.1-8b", precision="fp16", gpu="h200").verdict


def test_nothing_is_better_than_what_the_engines_own_files_keep_as_it_was_published() -> None:
    """gpt-oss is published in MXFP4: at INT8 it is the same weights unpacked and packed again, in more memory."""
    found = vram("gpt-oss-20b", engine="llama.cpp", gpu="rtx-4090")
    assert any(estimate.fits for estimate in found.estimates if estimate.precision == "int8")
    assert found.verdict.endswith("at MXFP4 up to 128k tokens, the model's limit.")
    assert "short" not in found.verdict


def test_experts_in_main_memory_are_proposed_for_a_mixture_only() -> None:
    asked = {"precision": "int4", "context": "8k", "engine": "llama.cpp", "gpu": "rtx-3060-12gb"}
    found = vram("qwen3-30b-a3b", **asked)  # type: ignore[arg-type]
    assert re.search(
        r"n_cpu_moe=auto holds it with \d+\.\d\d GiB of experts in main memory; smallest device", found.verdict
    )
    assert "n_cpu_moe" not in vram("qwen3-32b", **asked).verdict  # type: ignore[arg-type]
    (held,) = vram("qwen3-30b-a3b", engine_option="n_cpu_moe=auto", **asked).estimates  # type: ignore[arg-type]
    assert held.fits
    assert held.host_is_used
    assert any("layers stay in main memory (n_cpu_moe=" in warning for warning in held.warnings)
