"""RoPE scaling in words, on configs as they were published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.model.positions import scaling_note

CONFIGS = Path(__file__).parents[2] / "catalog" / "configs"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Qwen--Qwen3-8B", None),
        ("openai-community--gpt2", None),
        ("meta-llama--Llama-3.1-8B-Instruct", "trained at 8,192 tokens: the stated limit of 131,072 has it already"),
        (
            "microsoft--Phi-3-mini-128k-instruct",
            "longrope, trained at 4,096 tokens: the stated limit of 131,072 has it",
        ),
        ("NousResearch--Yarn-Mistral-7b-128k", "16 x 8,192 tokens: the stated limit of 32,768 does not have it yet"),
        ("deepseek-ai--DeepSeek-V3", "yarn, trained at 4,096 tokens: the stated limit of 163,840 has it already"),
        ("openai--gpt-oss-20b", "yarn, trained at 4,096 tokens: the stated limit of 131,072 has it already"),
    ],
)
def test_published_configs(name: str, words: str | None) -> None:
    note = scaling_note(json.loads((CONFIGS / f"{name}.json").read_text()))
    assert note is None if words is None else words in str(note)


@pytest.mark.parametrize(
    "settings", [None, 3, [], "yarn", {"type": 3}, {"type": "yarn"}, {"type": "yarn", "factor": "x", "original_max_position_embeddings": True}]
)  # fmt: skip
def test_nonsense_says_nothing(settings: Any) -> None:
    assert scaling_note({"max_position_embeddings": 4096, "rope_scaling": settings}) is None
