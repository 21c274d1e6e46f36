from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict

from fmkit.api.trial_options import TrialOptions
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
    assert {"name", "passed", "value", "threshold", "detail"} <= set(answer["checks"][0])


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


def test_the_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from fmkit.trial.checks import CHECKS  # noqa: PLC0415

    listed = here(capsys, "try", "--checks", "help", "--json").json()
    assert listed["schema"] == "fmkit.checks/1"
    assert [one["name"] for one in listed["checks"]] == list(CHECKS)
    assert all(one["question"] and one["reason"] and one["source"] for one in listed["checks"])
    text = here(capsys, "try", "--checks", "help").out
    assert "needle (only by name)" in text
    assert "finite-logits\n" in text


def test_what_to_work_on_reaches_the_api(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(
        capsys, "try", "gpt2", "--input", "a.jsonl", "--output", "b.jsonl", "--output-tokens", "7", "--transcript", "c.txt", "--reference",
        "d.txt",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    given = ("input", "output", "output_tokens", "transcript", "reference")
    assert [asked[name] for name in given] == ["a.jsonl", "b.jsonl", 7, "c.txt", "d.txt"]
