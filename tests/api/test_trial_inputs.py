"""What `fmkit try` is to work on is looked at before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.trial_inputs import check_inputs, check_resumption, input_fields
from fmkit.api.trial_options import TrialOptions
from fmkit.api.try_model import try_model
from fmkit.errors import FmkitError, UnsafeInputError, UsageError
from fmkit.trial.many import answered_before


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("A text.", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (tmp_path / "picture.png").touch()
    (tmp_path / "speech.wav").touch()
    (tmp_path / "many.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n', encoding="utf-8")
    return tmp_path


def options(folder: Path, **given: Any) -> TrialOptions:
    named = ("input", "output", "transcript", "reference")
    fields: dict[str, Any] = {key: str(folder / value) if key in named else value for key, value in given.items()}
    return TrialOptions(**fields)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("decoder", {"input": "text.txt"}),
        ("decoder", {"input": "many.jsonl", "output": "out.jsonl"}),
        ("clip", {"input": "picture.png", "prompt": "a|b"}),
        ("vision-language", {"input": "picture.png", "prompt": "What is it?"}),
        ("speech", {"input": "speech.wav", "transcript": "text.txt"}),
        ("decoder", {"reference": "text.txt", "checks": ["perplexity"]}),
    ],
)
def test_what_suits(files: Path, kind: str, given: dict[str, Any]) -> None:
    check_inputs(kind, options(files, **given), given.get("checks", ()))


@pytest.mark.parametrize(
    ("kind", "given", "where", "says"),
    [
        ("decoder", {"input": "gone.txt"}, "--input", "no such file"),
        ("decoder", {"input": "picture.png"}, "--input", "can't take picture.png: it takes .txt, .md, .jsonl"),
        ("speech", {"input": "text.txt"}, "--input", "it takes .wav, .jsonl"),
        ("decoder", {"input": "text.txt", "prompt": "a"}, "--input", "exclude each other"),
        ("speech", {"input": "speech.wav", "prompt": "a"}, "--input", "exclude each other"),
        ("decoder", {"input": "many.jsonl", "random_weights": True}, "--input", "random weights can't answer"),
        ("decoder", {"output": "out.jsonl"}, "--output", "name them by --input"),
        ("decoder", {"input": "text.txt", "output": "out.jsonl"}, "--output", "name them by --input"),
        ("decoder", {"input": "many.jsonl", "output": "out.txt"}, "--output", "lines of JSON"),
        ("decoder", {"input": "many.jsonl", "output": "many.jsonl"}, "--output", "file of the inputs"),
        ("decoder", {"input": "many.jsonl", "output": "none/out.jsonl"}, "--output", "no such folder"),
        ("decoder", {"transcript": "text.txt"}, "--transcript", "transcribes nothing"),
        ("speech", {"transcript": "gone.txt"}, "--transcript", "can't read"),
        ("decoder", {"reference": "text.txt"}, "--reference", "nothing reads the reference"),
        ("decoder", {"output_tokens": 0}, "--output-tokens", "whole number"),
    ],
)
def test_what_does_not(files: Path, kind: str, given: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        check_inputs(kind, options(files, **given), ())
    assert error.value.where == where
    assert says in error.value.message


def test_files_of_another_form(files: Path) -> None:
    with pytest.raises(UnsafeInputError, match="line 2: has no `text`"):
        check_inputs("decoder", options(files, input="bad.jsonl"), ())
    with pytest.raises(UnsafeInputError, match="no UTF-8 text"):
        check_inputs("decoder", options(files, input="latin.txt"), ())


def test_fields_of_the_request(files: Path) -> None:
    fields = input_fields("decoder", options(files, input="text.txt"))
    assert fields["input_path"] == fields["reference_path"] == str(files / "text.txt")
    assert fields["output_tokens"] == 48
    assert input_fields("speech", options(files, input="speech.wav"))["output_tokens"] == 224
    assert input_fields("speech", options(files, transcript="text.txt"))["transcript"] == "A text."


def test_another_run_s_answers_are_refused_before_loading(files: Path) -> None:
    from fmkit.trial.items import read_items  # noqa: PLC0415

    (item,) = read_items(files / "many.jsonl", "decoder")
    record = {"line": 1, "input": item.digest, "model": "gpt2", "precision": "float32"}
    out = files / "out.jsonl"
    out.write_text(json.dumps(record) + "\n", encoding="utf-8")
    said: list[str] = []
    given = options(files, input="many.jsonl", output="out.jsonl", progress=said.append)
    check_resumption(given, "decoder", "gpt2", "float32")
    assert said == ["out.jsonl has 1 of 1 answers: going on from there"]
    with pytest.raises(FmkitError, match="not of gpt2 at bnb-nf4"):
        check_resumption(given, "decoder", "gpt2", "bnb-nf4")
    assert answered_before(out, [item], "gpt2", "float32") == {1}


@pytest.mark.full
def test_quantised_weights_against_unquantised_ones_in_two_processes() -> None:
    """Through the real children: nf4 of the embedded model, whose KL the other test holds against numpy."""
    result = try_model(precision="int4", repeat=0, keep=False, checks=["quantised-kl", "quantised-top1"], context=256)
    kl, top1 = result.checks
    assert kl.data["tokens"] == 256
    assert 1e-4 < (kl.value or 0) < 0.1
    assert 0.8 < (top1.value or 0) < 1
    assert kl.passed is True
    plain = try_model(precision="fp32", repeat=0, keep=False, checks=["quantised-kl"], context=256)
    assert plain.checks[0].passed is None
    assert "not quantised" in plain.checks[0].detail


@pytest.mark.full
def test_the_embedded_model_has_no_use_for_a_needle() -> None:
    result = try_model(repeat=0, keep=False, checks=["needle", "perplexity"], context=512)
    needle, perplexity = result.checks
    assert (needle.passed, needle.value, needle.threshold) == (False, 0.0, 512.0)
    assert needle.data["points"]
    assert perplexity.passed is True
    assert perplexity.data["bits_per_byte"] == pytest.approx(1.3869, rel=0.03)  # its card, each passage by itself
