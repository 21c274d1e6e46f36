"""Real answers: processors made on the spot, tiny models with random weights saved and loaded like real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from fmkit.trial.checks import CHECKS
from fmkit.trial.items import INPUTS
from fmkit.trial.request import TrialOutcome
from fmkit.trial.sound import read_wav
from fmkit.trial.tasks.speech import RATE_HZ
from tests.trial.tiny import CONFIGS, request
from tests.trial.tiny import trial as run_tiny

WORDS = [
    "[PAD]",
    "[UNK]",
    "[MASK]",
    "[CLS]",
    "[SEP]",
    "The",
    "capital",
    "of",
    "France",
    "is",
    ".",
    "train",
    "a",
    "red",
    "flour",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", model_max_length=64
    )


def saved(name: str, folder: Path, tokenizer: Any, **settings: Any) -> TrialOutcome:
    """The outcome of a tiny model that was saved with its tokenizer and is loaded from there."""
    _, config = CONFIGS[name]
    torch.manual_seed(0)
    cls = getattr(transformers, config["architectures"][0])
    cls(transformers.AutoConfig.for_model(**config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return run_tiny(name, folder=str(folder), output_tokens=8, checks=tuple(CHECKS), **settings)


def test_fill_mask(tmp_path: Path, tokenizer: Any) -> None:
    outcome = saved("bert", tmp_path, tokenizer)
    first, words = outcome.output.splitlines()
    assert first == "The capital of France is [MASK]."
    assert words.count("%") == 5


def test_text_generation_notes_what_the_checks_need(tmp_path: Path, tokenizer: Any) -> None:
    outcome = saved("gpt2", tmp_path, tokenizer, prompt="The train")
    checks = {check.name: check for check in outcome.checks}
    assert checks["stop-token"].value is not None


def test_packaged_inputs_are_small_and_complete() -> None:
    names = {path.name for path in INPUTS.iterdir()}
    assert {"text.txt", "article.txt", "gap.txt", "sentences.txt", "captions.txt", "question.txt"} <= names
    assert {"picture.png", "speech.wav", "speech.txt"} <= names
    assert sum(path.stat().st_size for path in INPUTS.iterdir()) < 200_000


def test_the_script_makes_the_packaged_texts(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "inputs" / "make_inputs.py"
    spec = importlib.util.spec_from_file_location("make_inputs", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_texts(tmp_path)
    module.make_picture(tmp_path / "picture.png")
    for made in tmp_path.glob("*.txt"):
        assert made.read_bytes() == (INPUTS / made.name).read_bytes()
    assert (tmp_path / "picture.png").stat().st_size > 500


def test_speech_is_what_whisper_takes() -> None:
    samples = read_wav(INPUTS / "speech.wav", RATE_HZ)
    assert 1 < len(samples) / RATE_HZ < 10
    assert 0.1 < float(abs(samples).max()) <= 1.0


def test_request_defaults_to_random_weights() -> None:
    assert request("llama").random_weights
