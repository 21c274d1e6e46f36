from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict

from fmkit.api.trial_run import TrialOptions
from fmkit.cli import try_
from tests.cli.running import here
from tests.report.test_trial import RESULT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked of the API, which answers with a made-up trial."""
    seen: dict[str, Any] = {}

    def answer(
        model: str | None, precision: str | None, context: str | None, sequences: int, options: TrialOptions
    ) -> Any:
        seen.update(model=model, precision=precision, context=context, sequences=sequences, **asdict(options))
        return RESULT

    monkeypatch.setattr(try_, "try_one", answer)
    return seen


def test_options_reach_the_api(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(
        capsys, "try", "gpt2", "--random-weights", "--layers", "2", "-c", "1k", "-s", "2", "--precision", "fp32",
        "--checks", "finite-logits,deterministic", "--repeat", "5", "--no-keep", "--yes", "--offline", "-q", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert asked["model"] == "gpt2"
    assert (asked["layers"], asked["context"], asked["sequences"], asked["repeat"]) == (2, "1k", 2, 5)
    assert asked["checks"] == ["finite-logits", "deterministic"]
    assert (asked["keep"], asked["yes"], asked["offline"], asked["random_weights"]) == (False, True, True, True)
    assert asked["progress"] is None
    assert asked["confirm"] is None  # no terminal, nobody to ask


def test_defaults(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys, "try").code == 0
    assert asked["model"] is None
    assert asked["keep"]
    assert (asked["precision"], asked["checks"], asked["context"]) == (None, None, None)


def test_json_has_the_schema(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "try", "gpt2", "--json").json()
    assert asked["model"] == "gpt2"
    assert answer["schema"] == "fmkit.trial/1"
    assert {
        "model",
        "engine",
        "machine",
        "workload",
        "predicted",
        "measured",
        "error",
        "unaccounted_bytes",
        "speed",
    } <= set(answer)
    assert set(answer["checks"][0]) == {"name", "passed", "value", "threshold", "detail"}


@pytest.mark.parametrize("option", ["--limit-memory", "--tensor-parallel", "--plot"])
def test_later_options_say_so(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "try", "gpt2", option, "1")
    assert answer.code == 2
    assert f"this version has no {option}" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("gpt3",), 2, "unknown model"),
        (("llama-3.1-405b", "--random-weights"), 3, "short; nothing was loaded"),
        (("./nowhere",), 4, "no such file or folder"),
        (("gpt2", "--offline"), 5, "not on this disk"),
        (("gpt2", "--engine", "llama.cpp"), 2, "runs GGUF files"),
        (("gpt2", "--repeat", "x"), 2, "whole number"),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "try", *arguments)
    assert answer.code == code, answer.err
    assert message in answer.err
