"""Training budgets against real steps: bytes of weights, gradients and states to the byte, the peak of the second step closely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import ArchitectureUnknownError, UsageError
from fmkit.model.architectures import read
from fmkit.sizing.training.adapters import adapted_groups, adapter_tensors
from fmkit.sizing.training.plan import check_trainable
from fmkit.sizing.training.recipe import LAYOUTS

torch = pytest.importorskip("torch", reason="the witness is transformers on torch: pip install 'fmkit[try]'")
import transformers  # noqa: E402  needs torch

from benchmarks.training import measured_before, predicted  # noqa: E402  needs torch
from fmkit.trial.tracker import LiveStorages, weight_tensors  # noqa: E402  needs torch
from tests.sizing.tracing import build  # noqa: E402  needs torch
from tests.sizing.training_steps import Case, cut_config, gpu_cases, run  # noqa: E402  needs torch

LLAMA, GPT2, BERT = "meta-llama--Llama-3.2-1B-Instruct", "openai-community--gpt2", "google-bert--bert-base-uncased"
QWEN, T5, BART = "Qwen--Qwen3-0.6B", "google-t5--t5-base", "facebook--bart-base"
SMALL = {"hidden_size": 512, "intermediate_size": 1408, "num_attention_heads": 8, "num_key_value_heads": 2}
"""Widths that make a step take a second; the layer's build stays the model's own."""
TINY: dict[str, Any] = {"layers": 2, "vocab": 2048, "tokens": 128, "changes": SMALL}


def compare(case: Case, folder: Path, tolerance: float) -> None:
    ours, real = predicted(case, on_cpu=True), run(case, folder)
    print(f"{case.name}: predicted {ours.peak_bytes:,} B, measured {real.peak_bytes:,} B")
    assert ours[:4] == real[:4]  # weights, adapters, states, gradients
    held = real.weights_bytes + real.adapter_bytes + real.state_bytes
    assert ours.peak_bytes - held == pytest.approx(real.peak_bytes - held, rel=tolerance)


@pytest.mark.parametrize(
    "case",
    [
        Case(config=LLAMA, **TINY),
        Case(config=LLAMA, precision="mixed", optimiser="sgd", **TINY),
        Case(config=LLAMA, precision="fp32", optimiser="adamw-foreach", **TINY),
        Case(config=LLAMA, checkpointing=True, optimiser="sgd-momentum", **{**TINY, "sequences": 4}),
        Case(config=LLAMA, attention="eager", optimiser="sgd", **TINY),
        Case(config=QWEN, optimiser="adafactor", **TINY),
        Case(config="microsoft--Phi-3-mini-4k-instruct", optimiser="sgd", **{**TINY, "sequences": 4}),
        Case(config="google--gemma-3-1b-it", optimiser="sgd", **{**TINY, "sequences": 4}),
        Case(config="mistralai--Mixtral-8x7B-v0.1", optimiser="sgd", **TINY),
    ],
    ids=lambda case: case.name,
)
def test_a_step_of_a_decoder(case: Case, tmp_path: Path) -> None:
    compare(case, tmp_path, tolerance=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("config", [GPT2, BERT, BART, T5])
@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_a_step_with_dropout(config: str, precision: str, tmp_path: Path) -> None:
    case = Case(config=config, precision=precision, optimiser="sgd", sequences=4, tokens=128, vocab=2048)
    compare(case, tmp_path, tolerance=0.05)


@pytest.mark.parametrize("optimiser", ["adamw", "adamw-8bit", "adafactor", "sgd-momentum"])
def test_states_of_optimisers(optimiser: str, tmp_path: Path) -> None:
    case = Case(config=LLAMA, optimiser=optimiser, **{**TINY, "tokens": 8, "sequences": 1, "layers": 1})
    assert predicted(case, on_cpu=True).state_bytes == run(case, tmp_path).state_bytes


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "v_proj")])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_of_adapters(targets: tuple[str, ...], checkpointing: bool, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the witness of adapters is peft")
    case = Case(config=LLAMA, method="lora", targets=targets, checkpointing=checkpointing, **{**TINY, "tokens": 256})
    compare(case, tmp_path, tolerance=0.05)


@pytest.mark.slow
def test_a_step_of_adapters_on_four_bits(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the witness of adapters is peft")
    pytest.importorskip("bitsandbytes", reason="the witness of 4-bit weights is bitsandbytes")
    case = Case(config=LLAMA, method="qlora", precision="int4", optimiser="adamw-8bit", **TINY)
    compare(case, tmp_path, tolerance=0.05)


def test_the_trainer_holds_what_the_loop_of_these_tests_holds(tmp_path: Path) -> None:
    """The figures are meant for transformers' Trainer: its second step peaks where ours does."""
    case = Case(config=LLAMA, precision="fp32", **{**TINY, "sequences": 2})
    model = build(cut_config(case), torch.float32, None).train()
    rows = [
        {"input_ids": torch.ones(case.tokens, dtype=torch.long), "labels": torch.ones(case.tokens, dtype=torch.long)}
    ] * 4
    peaks: list[int] = []
    wanted = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=2, max_steps=2, report_to=[], save_strategy="no",
        logging_strategy="no", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    live = LiveStorages(weight_tensors(model))

    class Second(transformers.TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        def on_step_end(self, *_: Any, **__: Any) -> None:
            peaks.append(live.peak_bytes)
            live.reset_peak()

    with live:
        transformers.Trainer(model=model, args=wanted, train_dataset=rows, callbacks=[Second()]).train()
    assert peaks[1] == pytest.approx(predicted(case, on_cpu=True).peak_bytes, rel=0.01)


def test_steps_recorded_on_a_gpu() -> None:
    """Whole models on a card of 80 GB, as benchmarks/training.py --device cuda measured them: other kernels than a CPU's."""
    _, recorded = measured_before("cuda")
    errors = []
    for case in gpu_cases():
        ours, real = predicted(case, on_cpu=False), recorded[case.name]
        assert ours[:4] == real[:4], case.name
        errors.append(abs(ours.peak_bytes / real.peak_bytes - 1))
    assert len(errors) >= 20
    assert sorted(errors)[len(errors) // 2] < 0.001
    assert max(errors) < 0.02


def spec_of(config: str) -> Any:
    return read(cut_config(Case(config=config, vocab=None)), where=config)


def test_targets_are_the_names_of_linear_layers() -> None:
    spec = spec_of(LLAMA)
    assert {group.part for group in adapted_groups(spec, ("all-linear",))} == {"attention", "mlp"}
    assert sum(tensor.bytes for tensor in adapter_tensors(adapted_groups(spec, ("q_proj",)), 8, 4)) == 2 * 8 * 4096 * 4
    with pytest.raises(UsageError, match=r"unknown linear layer 'q_projs'; nearest: q_proj"):
        adapted_groups(spec, ("q_projs",))


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(ArchitectureUnknownError, match="state-space layers"):
        check_trainable(spec_of("state-spaces--mamba-130m-hf"))
    with pytest.raises(ArchitectureUnknownError, match="not for vision-language"):
        check_trainable(spec_of("llava-hf--llava-1.5-7b-hf"))


def test_layouts_of_recipes_are_in_the_catalog() -> None:
    assert {name for layouts in LAYOUTS.values() for name in layouts.values()} <= set(load_catalog().layouts)
