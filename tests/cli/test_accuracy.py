"""`fmkit accuracy` and `fmkit vram --paste-log` as typed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fmkit.catalog.paths import source_folder
from fmkit.errors import ExitCode
from tests.cli.running import here

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
SGLANG = str(LOGS / "sglang-qwen3-30b-a3b.log")


@pytest.fixture
def few(tmp_path: Path) -> str:
    """The first rows of the shipped memory measurements."""
    lines = (source_folder() / "measurements" / "memory.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "few.csv"
    path.write_text("".join(lines[:40]), encoding="utf-8")
    return str(path)


def test_accuracy_in_every_form(few: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain = here(capsys, "accuracy", "--measurements", few)
    assert plain.code == 0
    assert "llama.cpp" in plain.out
    assert "always ok" in plain.out
    answer = json.loads(here(capsys, "accuracy", "--measurements", few, "--json").out)
    assert answer["schema"] == "fmkit.accuracy/1"
    assert here(capsys, "accuracy", "--measurements", few, "--csv").out.startswith("quantity,engine,")
    assert here(capsys, "accuracy", "--measurements", few, "--markdown").out.startswith("| quantity |")
    assert "by device" in here(capsys, "accuracy", "--measurements", few, "--detail").out


def test_accuracy_of_a_wrong_file(capsys: pytest.CaptureFixture[str]) -> None:
    answer = here(capsys, "accuracy", "--measurements", SGLANG)
    assert answer.code == ExitCode.UNSAFE_INPUT
    assert "columns" in answer.err


def test_a_log_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("vram", "qwen3-30b-a3b", "--paste-log", SGLANG)
    plain = here(capsys, *command)
    assert plain.code == 0
    assert "152.88 GiB" in plain.out
    answer = json.loads(here(capsys, *command, "--json").out)
    assert (answer["schema"], answer["engine"]) == ("fmkit.log/1", "sglang")
    assert here(capsys, *command, "--csv").out.startswith("part,predicted_bytes,")
    assert here(capsys, *command, "--markdown").out.startswith("| part |")


def test_a_log_on_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(SGLANG).read_bytes())))
    assert here(capsys, "vram", "qwen3-30b-a3b", "--paste-log", "-").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--paste-log", SGLANG), ExitCode.USAGE, "does not name the model"),
        (("qwen3-30b-a3b", "--paste-log", SGLANG, "--context", "4k"), ExitCode.USAGE, "leave out --context"),
        (
            ("qwen3-30b-a3b", "--paste-log", SGLANG, "--engine", "llama.cpp", "--train", "full"),
            ExitCode.USAGE,
            "leave out --engine, --train",
        ),
        (("qwen3-30b-a3b", "--paste-log", SGLANG, "-p", "fp16,int8"), ExitCode.USAGE, "give one value"),
        (("qwen3-30b-a3b", "--paste-log", "absent.log"), ExitCode.UNSAFE_INPUT, "can't read the log"),
        (
            ("qwen3-30b-a3b", "--paste-log", str(Path(__file__).parent / "running.py")),
            ExitCode.UNSAFE_INPUT,
            "no start-up log",
        ),
    ],
)
def test_what_a_log_can_not_be(
    arguments: tuple[str, ...], code: ExitCode, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = here(capsys, "vram", *arguments)
    assert answer.code == code
    assert words in answer.err
