"""Real answers: processors made on the spot, tiny models with random weights saved and loaded like real ones."""

from __future__ import annotations

import importlib.util
import wave
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from fmkit.errors import UnsafeInputError
from fmkit.trial.checks import CHECKS
from fmkit.trial.given_text import INPUTS
from fmkit.trial.request import TrialOutcome
from fmkit.trial.tasks.speech import RATE_HZ, read_wav
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


def test_a_text_without_a_gap(tmp_path: Path, tokenizer: Any) -> None:
    assert "no gap" in saved("bert", tmp_path, tokenizer, prompt="The train").output


def test_embedding(tmp_path: Path, tokenizer: Any) -> None:
    outcome = saved("minilm", tmp_path, tokenizer)
    assert "3 texts as vectors of 64 numbers" in outcome.output
    checks = {check.name: check for check in outcome.checks}
    assert checks["embedding-symmetry"].passed is True
    assert checks["paraphrase-closer"].value is not None


def test_encoder_decoder(tmp_path: Path, tokenizer: Any) -> None:
    outcome = saved("t5", tmp_path, tokenizer)
    assert outcome.task == "text to text"
    assert outcome.output is not None


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
    samples = read_wav(INPUTS / "speech.wav")
    assert 1 < len(samples) / RATE_HZ < 10
    assert 0.1 < float(abs(samples).max()) <= 1.0


def test_other_sound_is_refused(tmp_path: Path) -> None:
    stereo = tmp_path / "stereo.wav"
    with wave.open(str(stereo), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(44_100)
        sound.writeframes(bytes(400))
    with pytest.raises(UnsafeInputError, match="2 channels, 16 bit, 44100 Hz"):
        read_wav(stereo)
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(UnsafeInputError, match="no WAV file"):
        read_wav(tmp_path / "text.wav")


def test_request_defaults_to_random_weights() -> None:
    assert request("llama").random_weights
