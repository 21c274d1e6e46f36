"""`fmkit compare` and `fmkit catalog show --sources` as they are typed."""

from __future__ import annotations

import csv
import json
from io import StringIO

import pytest

from fmkit.cli.main import main
from fmkit.errors import ExitCode

PAIR = ["compare", "gpt2", "qwen3-8b", "--memory", "24GiB"]


def test_json_has_its_schema_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAIR, "--json"]) == ExitCode.OK
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "fmkit.compare/1"
    assert [model["id"] for model in answer["models"]] == ["gpt2", "qwen3-8b"]
    assert answer["models"][1]["facts"]["sources"]["licence"]


def test_a_precision_without_a_speed_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside one that has a speed; vLLM has no NVFP4 kernels for AMD's cards."""
    assert main([*PAIR[:3], "--gpu", "mi300x", "--engine", "vllm", "--precision", "fp16,nvfp4"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.count("no speed at NVFP4: vllm has no NVFP4 kernels for AMD Instinct MI300X") == 2
    assert "no speed at FP16" not in out


def test_csv_with_sources_has_a_column_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAIR, "--csv", "--sources"]) == ExitCode.OK
    table = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    licence = next(row for row in table if row["fact"] == "licence")
    assert (licence["gpt2"], licence["qwen3-8b"]) == ("mit", "apache-2.0")
    assert licence["gpt2 source"]
    assert licence["qwen3-8b source"]


@pytest.mark.parametrize("columns", ["40", "60", "200"])
@pytest.mark.parametrize("line", [PAIR, [*PAIR, "--sources"], ["catalog", "show", "qwen3-8b", "--sources"]])
def test_nothing_is_wider_than_the_terminal(
    columns: str, line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(line) == ExitCode.OK
    out = capsys.readouterr().out
    assert "apache-2.0" in out
    assert max(map(len, out.splitlines())) <= int(columns)


def test_show_names_the_source_of_every_fact(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "5000")
    assert main(["catalog", "show", "qwen3-8b", "--sources"]) == ExitCode.OK
    facts = capsys.readouterr().out.split("\nLicence\n")[0].splitlines()[2:]
    assert len(facts) > 20
    assert all(len([cell for cell in line.strip().split("  ") if cell.strip()]) == 3 for line in facts), facts


def test_two_formats_at_once_and_one_model_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAIR, "--json", "--csv"]) == ExitCode.USAGE
    assert main(["compare", "gpt2"]) == ExitCode.USAGE
    assert "at least 2" in capsys.readouterr().err
