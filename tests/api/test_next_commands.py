"""What is to be typed next keeps what was typed, and can be typed."""

from __future__ import annotations

import shlex

import pytest

from fmkit.api.next_commands import again, given
from fmkit.api.vram import vram
from tests.cli.running import here


@pytest.mark.parametrize(
    "words",
    [
        "--engine vllm --gpu rtx-4090 --precision fp16 --context 52k --engine-option gpu_memory_utilization=0.5 --engine-option block_size=32",
        "--memory 40GiB --context 40000,4k --sequences 1,4 --offline",
        "--gpu rtx-4090 --memory 64GiB --offload --precision fp16",
        "--gpu rtx-4090:2 --tensor-parallel 2 --attention eager",
        "--train full --gpu rtx-4090 --context 2k --optimizer sgd --train-batch 1,2",
        "--train lora --gpu rtx-4090 --precision fp16 --lora-rank 8 --lora-targets q_proj,v_proj --checkpointing --context 128k",
    ],
)
def test_what_was_typed_is_typed_again(capsys: pytest.CaptureFixture[str], words: str) -> None:
    answer = here(capsys, "vram", "llama-3.1-8b", *words.split(), "--json").json()
    following = next(command for command in answer["next"] if command.startswith("fmkit vram"))
    lighter = "--train" in following and following.split()[4] not in words
    kept = {word for word in words.split() if word.startswith("--")} - ({"--precision"} if lighter else set())
    assert kept <= set(shlex.split(following))
    again_asked = here(capsys, *shlex.split(following)[1:], "--json")
    assert again_asked.code == 0, again_asked.err
    assert again_asked.json()["machine"] == answer["machine"]
    first = ("engine", "context_tokens", "sequences", "budget_bytes")
    assert [again_asked.json()["estimates"][0][name] for name in first] == [
        answer["estimates"][0][name] for name in first
    ]


def test_a_trial_keeps_what_a_trial_takes() -> None:
    found = vram("llama-3.1-8b", gpu="h200", precision="fp16", context="8k", sequences=2, offline=True)
    trial = next(command for command in found.next if command.startswith("fmkit try"))
    assert trial == ("fmkit try llama-3.1-8b --random-weights --precision fp16 --context 8k --sequences 2 --offline")


def test_defaults_were_not_given_and_odd_names_are_quoted() -> None:
    assert given(
        {"--engine": "transformers", "--expert-parallel": 1, "--gpu": None, "--free": False, "--images": 0}
    ) == {"--images": 0}
    assert shlex.split(again("./my model", {"--images": 0})) == ["fmkit", "vram", "./my model", "--images", "0"]


def test_what_a_server_runs_is_tried_at_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    """As `recommend` proposes it: random weights in transformers on this machine would say nothing of it."""
    found = vram("llama-3.1-8b", gpu="l40s", engine="vllm", precision="int4-awq", context="8k", sequences=4)
    trial = next(command for command in found.next if command.startswith("fmkit try"))
    assert trial == "fmkit try llama-3.1-8b --engine http://localhost:8000/v1 --context 8k --sequences 4"
    refused = here(capsys, *shlex.split(trial)[1:-5], "http://localhost:1/v1", "--context", "8k", "--sequences", "4")
    assert refused.code == 5, refused.err  # nothing listens there; the options are taken
