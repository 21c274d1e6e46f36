"""`fmkit vram --train` at the command line."""

from __future__ import annotations

import pytest

from tests.cli.running import here

QLORA = ("vram", "llama-3.1-8b", "--train", "qlora", "--gpu", "rtx-4090", "--offline", "-c", "2k")


def test_the_answer_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, *QLORA, "--checkpointing", "--optimizer", "adamw-8bit", "--train-batch", "1,2")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("QLoRA fine-tuning of llama-3.1-8b fits NVIDIA GeForce RTX 4090 at INT4 up to ")
    for words in (
        "2 x 2k",
        "adapters",
        "optimiser states",
        "adamw-8bit, batch 1, checkpointing",
        "41.9M parameters trained",
    ):
        assert words in " ".join(answer.out.split())


def test_the_answer_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    estimate = here(capsys, *QLORA, "--lora-rank", "8", "--lora-targets", "q_proj,v_proj", "--json").json()[
        "estimates"
    ][0]
    training = estimate["training"]
    assert (training["method"], training["lora_rank"], training["lora_targets"]) == ("qlora", 8, ["q_proj", "v_proj"])
    assert training["adapter_bytes"] == 32 * 8 * (4096 + 4096 + 4096 + 1024) * 4
    assert {line["phase"] for line in estimate["lines"]} <= {"steady", "forward", "backward", "step"}
    beyond = max(training["forward_bytes"], training["backward_bytes"], training["step_bytes"])
    assert estimate["peak_bytes"] == estimate["steady_bytes"] + beyond


def test_check_fails_where_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "vram", "llama-3.1-8b", "--train", "full", "--gpu", "rtx-4090", "--offline", "--check")
    assert answer.code == 3
    assert "does not fit" in answer.out
    assert "next: fmkit vram llama-3.1-8b --train full --checkpointing" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--train", "tune"), "--train"),
        (("--train", "lora", "--lora-rank", "-1"), "--lora-rank"),
        (("--train", "lora", "--train-batch", "many"), "--train-batch"),
        (("--checkpointing",), "--checkpointing"),
        (("--train", "lora", "--engine", "vllm"), "--engine"),
    ],
)
def test_silly_options_are_refused(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], where: str) -> None:
    answer = here(capsys, "vram", "llama-3.1-8b", "--offline", *options)
    assert answer.code == 2
    assert f"where: {where}" in answer.err
